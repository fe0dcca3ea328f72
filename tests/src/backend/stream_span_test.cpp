// Spans on streams: at once they are the host's, late they are measured where the stream runs the work.
#include "src/backend/stream_span.hpp"

#include <gtest/gtest.h>

#include "src/backend/backend.hpp"
#include "src/base/span_recorder.hpp"

namespace athanor {
namespace {

SpanRecording record(const std::string& device, std::string* order) {
  const auto ops = make_backend(device);
  const auto stream = ops->make_stream();
  SpanRecorder recorder;
  recorder.name_stream(stream.get(), "compute stream");
  recorder.start();
  {
    std::string layer = "layers.1";
    const StreamSpan outer(stream.get(), SpanKind::compute, "block", layer);
    run_on(*stream, [order] { *order += "work "; });
    const StreamSpan inner(stream.get(), SpanKind::compute, "ffn", layer);
  }
  *order += "host ";
  stream->synchronize();
  return recorder.stop();
}

// On the CPU there is the host's row alone.
TEST(StreamSpan, IsTheHostsWhereStreamsRunAtOnce) {
  std::string order;
  const SpanRecording recording = record("cpu", &order);
  EXPECT_EQ(order, "work host ");
  EXPECT_EQ(recording.rows, std::vector<std::string>{"main thread"});
  EXPECT_EQ(recording.spans.size(), 2U);
}

// On a late stream each span is there twice: when it was enqueued, and, in a row of the stream, when it ran; the
// latter begins when the host is through, though the text it was told by is gone.
TEST(StreamSpan, IsMeasuredInAStreamThatRunsLate) {
  std::string order;
  const SpanRecording recording = record("cpu-guarded", &order);
  EXPECT_EQ(order, "host work ");
  ASSERT_EQ(recording.rows, (std::vector<std::string>{"main thread", "compute stream"}));
  ASSERT_EQ(recording.spans.size(), 4U);
  const RecordedSpan *host_outer = nullptr, *inner = nullptr, *outer = nullptr;
  for (const RecordedSpan& span : recording.spans) {
    EXPECT_EQ(span.of, "layers.1");
    if (span.row == 0 && span.name == "block") host_outer = &span;
    if (span.row == 1) (span.name == "block" ? outer : inner) = &span;
  }
  ASSERT_TRUE(host_outer && inner && outer);
  EXPECT_GE(outer->began, host_outer->ended);
  EXPECT_LE(outer->began, inner->began);
  EXPECT_LE(inner->ended, outer->ended);
}

// Without a stream, or without anybody who watches, nothing is put into one.
TEST(StreamSpan, LeavesStreamsAloneWhereNobodyWatches) {
  const auto ops = make_backend("cpu-guarded");
  const auto stream = ops->make_stream();
  SpanRecorder recorder;
  { const StreamSpan unwatched(stream.get(), SpanKind::compute, "block"); }
  recorder.start();
  { const StreamSpan host_only(nullptr, SpanKind::compute, "block"); }
  stream->synchronize();
  EXPECT_EQ(recorder.stop().spans.size(), 1U);
}

}  // namespace
}  // namespace athanor
