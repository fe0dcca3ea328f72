#include "src/base/span.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>

#include "src/base/span_recorder.hpp"

namespace athanor {
namespace {

const RecordedSpan* find(const SpanRecording& recording, const std::string& name) {
  const auto found = std::find_if(recording.spans.begin(), recording.spans.end(),
                                  [&](const RecordedSpan& span) { return span.name == name; });
  return found == recording.spans.end() ? nullptr : &*found;
}

// What ended while recording is there, with its kind, numbers and thread; inner spans lie within outer ones.
TEST(Span, IsRecordedWithWhatItSays) {
  SpanRecorder recorder;
  { const Span before(SpanKind::compute, "before"); }
  recorder.start();
  {
    const Span outer(SpanKind::pipeline, "F", {}, {{"chunk", 2}, {"micro_batch", 5}});
    std::string layer = "layers.3";
    const Span inner(SpanKind::compute, "attention", layer);
  }
  std::thread([] { const Span elsewhere(SpanKind::checkpoint, "write"); }).join();
  const SpanRecording recording = recorder.stop();
  { const Span after(SpanKind::compute, "after"); }

  ASSERT_EQ(recording.spans.size(), 3U);
  EXPECT_EQ(recording.lost, 0);
  const RecordedSpan *outer = find(recording, "F"), *inner = find(recording, "attention"),
                     *elsewhere = find(recording, "write");
  ASSERT_TRUE(outer && inner && elsewhere);
  EXPECT_EQ(outer->kind, SpanKind::pipeline);
  ASSERT_EQ(outer->numbers.size(), 2U);
  EXPECT_EQ(outer->numbers[1].first, "micro_batch");
  EXPECT_EQ(outer->numbers[1].second, 5);
  EXPECT_EQ(inner->of, "layers.3");
  EXPECT_LE(outer->began, inner->began);
  EXPECT_LE(inner->ended, outer->ended);
  EXPECT_EQ(recording.rows.at(static_cast<std::size_t>(outer->row)), "main thread");
  EXPECT_EQ(recording.rows.at(static_cast<std::size_t>(elsewhere->row)), "thread 2");
}

// An exception ends spans like any scope.
TEST(Span, EndsWithAnException) {
  SpanRecorder recorder;
  recorder.start();
  try {
    const Span span(SpanKind::step, "step");
    throw std::runtime_error("on purpose");
  } catch (const std::runtime_error&) {
  }
  EXPECT_EQ(recorder.stop().spans.size(), 1U);
}

class Counter final : public SpanWatcher {
 public:
  void begin(const SpanInfo&) noexcept override { ++open; }
  void end(const SpanInfo&, Clock::time_point) noexcept override { --open; }
  void ran(const SpanInfo&, const void*, Clock::time_point, Clock::time_point) noexcept override {}
  int open = 0;
};

// Recorder and profiler watch side by side; a recorder that leaves does not unseat the profiler.
TEST(Span, TwoMayWatch) {
  Counter profiler;
  spans::set_watcher(spans::Seat::profiler, &profiler);
  {
    SpanRecorder recorder;
    recorder.start();
    const Span span(SpanKind::data, "both");
    EXPECT_EQ(profiler.open, 1);
    EXPECT_EQ(recorder.stop().spans.size(), 0U);
  }
  EXPECT_TRUE(spans::are_watched());
  EXPECT_EQ(profiler.open, 0);
  spans::set_watcher(spans::Seat::profiler, nullptr);
  EXPECT_FALSE(spans::are_watched());
}

}  // namespace
}  // namespace athanor
