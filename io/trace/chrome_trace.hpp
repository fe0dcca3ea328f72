// Spans as a Chrome trace, the JSON that chrome://tracing and https://ui.perfetto.dev open: a process is a rank, a
// thread a row of the rank (a host thread, or a stream that runs late), times are microseconds of rank 0's clock.
// Law: every rank writes a trace of its own, one event a line; that of the job is their lines in rank order.
// Source: "Trace Event Format", the catapult project; complete events ("ph":"X") and metadata ("M").
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/clock_offset.hpp"
#include "parallel/host_group.hpp"
#include "src/base/span_recorder.hpp"

namespace athanor {

/// Steps of a stage, counted from 1, both ends included. None: first > last.
struct StepRange {
  std::int64_t first = 1, last = 0;
  bool any() const { return first <= last; }
};

/// "12" or "12-15"; empty: none. @param origin  for the message.   @throws ConfigError
StepRange parse_step_range(std::string_view text, std::string_view origin);

/// What a rank's row of processes says of it.
struct TraceRank {
  int rank = 0;
  std::string name;  ///< "rank 3 node07 (pp 1, dp 0)"
  ClockOffset clock;
};

/// The trace of one rank. @param zero_seconds  of rank 0's clock: the time that becomes 0.   @throws DataError
void write_chrome_trace(const std::filesystem::path& path, const SpanRecording& recording, const TraceRank& rank,
                        double zero_seconds);

/// One trace of several. Text is copied line by line, never held whole. @throws DataError naming the file that is no
/// such trace.
void join_chrome_traces(const std::filesystem::path& path, const std::vector<std::filesystem::path>& parts);

}  // namespace athanor
