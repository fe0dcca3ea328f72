#include "io/trace/chrome_trace.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "src/base/error.hpp"

namespace athanor {
namespace {
namespace fs = std::filesystem;
using nlohmann::json;

class ChromeTrace : public testing::Test {
 protected:
  ChromeTrace() : folder_(fs::temp_directory_path() / ("athanor_trace_" + std::to_string(::getpid()))) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~ChromeTrace() override { fs::remove_all(folder_); }

  static json read(const fs::path& path) {
    std::ifstream in(path);
    return json::parse(in);
  }

  /// The time at so many seconds of this rank's own clock.
  static Clock::time_point at(double seconds) {
    return Clock::time_point(std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds)));
  }

  static std::vector<json> spans_of(const json& trace) {
    std::vector<json> spans;
    for (const json& event : trace.at("traceEvents"))
      if (event.at("ph") == "X") spans.push_back(event);
    return spans;
  }

  fs::path folder_;
};

// One event a span: process = rank, thread = row, microseconds of rank 0's clock from zero on, what it says as args.
TEST_F(ChromeTrace, HoldsSpansOnTheCommonAxis) {
  SpanRecording recording;
  recording.rows = {"main thread", "compute stream"};
  recording.spans.push_back({SpanKind::pipeline, "B", "", {{"chunk", 1}, {"micro_batch", 3}}, 1, at(10.5), at(10.75)});
  recording.spans.push_back({SpanKind::communication, "all_reduce", "tp", {{"bytes", 4096}}, 0, at(11.0), at(11.001)});
  write_chrome_trace(folder_ / "a.json", recording, {2, "rank 2 \"node\"", {-5.0, 1e-6}}, 5.0);

  const json trace = read(folder_ / "a.json");
  const auto spans = spans_of(trace);
  ASSERT_EQ(spans.size(), 2U);
  EXPECT_EQ(spans[0]["name"], "1B3");
  EXPECT_EQ(spans[0]["cat"], "pipeline");
  EXPECT_EQ(spans[0]["pid"], 2);
  EXPECT_EQ(spans[0]["tid"], 1);
  EXPECT_NEAR(spans[0]["ts"].get<double>(), 0.5e6, 0.01);
  EXPECT_NEAR(spans[0]["dur"].get<double>(), 0.25e6, 0.01);
  EXPECT_EQ(spans[1]["name"], "all_reduce tp");
  EXPECT_EQ(spans[1]["args"]["of"], "tp");
  EXPECT_EQ(spans[1]["args"]["bytes"], 4096);
  int names = 0;
  for (const json& event : trace["traceEvents"]) {
    if (event["name"] == "thread_name") ++names;
    if (event["name"] != "process_name") continue;
    EXPECT_EQ(event["args"]["name"], "rank 2 \"node\"");
  }
  EXPECT_EQ(names, 2);
}

// The trace of a job is JSON again and holds every rank's events once.
TEST_F(ChromeTrace, JoinsThoseOfRanks) {
  std::vector<fs::path> parts;
  for (int rank = 0; rank < 3; ++rank) {
    SpanRecording recording;
    recording.rows = {"main thread"};
    for (int i = 0; i <= rank; ++i)
      recording.spans.push_back({SpanKind::compute, "x", "layers.0", {}, 0, at(i), at(i + 0.5)});
    parts.push_back(folder_ / ("rank_" + std::to_string(rank)));
    write_chrome_trace(parts.back(), recording, {rank, "rank", {}}, 0.0);
  }
  join_chrome_traces(folder_ / "all.json", parts);
  const auto spans = spans_of(read(folder_ / "all.json"));
  ASSERT_EQ(spans.size(), 6U);
  EXPECT_EQ(spans[5]["pid"], 2);

  // A rank whose file is not there, or is cut, is named.
  fs::remove(parts[1]);
  EXPECT_THROW(join_chrome_traces(folder_ / "all.json", parts), DataError);
}

TEST(StepRange, IsAStepOrTwoWithADash) {
  EXPECT_FALSE(parse_step_range("", "x").any());
  EXPECT_EQ(parse_step_range("12", "x").first, 12);
  EXPECT_EQ(parse_step_range("12", "x").last, 12);
  EXPECT_EQ(parse_step_range("3-7", "x").last, 7);
  for (const char* bad : {"0", "7-3", "3-", "-3", "three", "3 7", "3-7x"})
    EXPECT_THROW(parse_step_range(bad, "run.trace_step"), ConfigError) << bad;
}

}  // namespace
}  // namespace athanor
