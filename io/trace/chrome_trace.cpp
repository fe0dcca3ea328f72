#include "io/trace/chrome_trace.hpp"

#include <fmt/format.h>

#include <charconv>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/checkpoint/durable.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

constexpr std::string_view kHead =
    "{\"displayTimeUnit\":\"ms\",\"otherData\":{\"rows\":\"threads: what the host did; where streams run late, the "
    "time "
    "in which it enqueued the work. streams: when the work ran there\"},\"traceEvents\":[\n";
constexpr std::string_view kTail = "\n]}\n";

std::string json_text(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// Lines of a trace with commas between them.
class TraceFile {
 public:
  explicit TraceFile(const std::filesystem::path& path) : file_(path) { file_.append(kHead); }
  void add(std::string_view event) {
    if (!std::exchange(first_, false)) file_.append(",\n");
    file_.append(event);
  }
  void commit() {
    file_.append(kTail);
    file_.commit();
  }

 private:
  TextFileReplacement file_;
  bool first_ = true;
};

/// What a picture shows: "attention layers.3", "all_reduce tp", and of a pipeline the schedule's own "0F3".
std::string label_of(const RecordedSpan& span) {
  if (span.kind == SpanKind::pipeline && span.numbers.size() == 2)
    return fmt::format("{}{}{}", span.numbers[0].second, span.name, span.numbers[1].second);
  return span.of.empty() ? span.name : span.name + " " + span.of;
}

std::string metadata(std::string_view what, int rank, int row, std::string_view key, const std::string& value) {
  return fmt::format(R"({{"ph":"M","name":"{}","pid":{},"tid":{},"args":{{"{}":{}}}}})", what, rank, row, key, value);
}

}  // namespace

StepRange parse_step_range(std::string_view text, std::string_view origin) {
  if (text.empty()) return {};
  StepRange range;
  const char* const end = text.data() + text.size();
  auto [at, error] = std::from_chars(text.data(), end, range.first);
  range.last = range.first;
  if (error == std::errc{} && at != end && *at == '-') {
    const auto second = std::from_chars(at + 1, end, range.last);
    at = second.ptr;
    error = second.ec;
  }
  if (error != std::errc{} || at != end || range.first < 1 || !range.any())
    throw ConfigError(
        fmt::format("{} = {}: wanted a step (12) or the first and the last of several (12-15), from 1", origin, text));
  return range;
}

void write_chrome_trace(const std::filesystem::path& path, const SpanRecording& recording, const TraceRank& rank,
                        double zero_seconds) {
  TraceFile file(path);
  file.add(metadata("process_name", rank.rank, 0, "name", json_text(rank.name)));
  file.add(metadata("process_sort_index", rank.rank, 0, "sort_index", std::to_string(rank.rank)));
  file.add(metadata("clock", rank.rank, 0, "seconds_to_rank_0",
                    fmt::format("{:.9f},\"error_seconds\":{:.9f},\"lost_spans\":{}", rank.clock.seconds,
                                rank.clock.error, recording.lost)));
  for (std::size_t row = 0; row < recording.rows.size(); ++row)
    file.add(metadata("thread_name", rank.rank, static_cast<int>(row), "name", json_text(recording.rows[row])));
  const auto microseconds = [&](Clock::time_point time) {
    const double own = std::chrono::duration<double>(time.time_since_epoch()).count();
    return 1e6 * (own + rank.clock.seconds - zero_seconds);
  };
  for (const RecordedSpan& span : recording.spans) {
    std::string args = span.of.empty() ? "" : "\"of\":" + json_text(span.of);
    for (const auto& [name, value] : span.numbers)
      args += fmt::format("{}\"{}\":{}", args.empty() ? "" : ",", name, value);
    const double began = microseconds(span.began);
    file.add(
        fmt::format(R"({{"ph":"X","name":{},"cat":"{}","pid":{},"tid":{},"ts":{:.3f},"dur":{:.3f},"args":{{{}}}}})",
                    json_text(label_of(span)), to_string(span.kind), rank.rank, span.row, began,
                    microseconds(span.ended) - began, args));
  }
  file.commit();
}

void join_chrome_traces(const std::filesystem::path& path, const std::vector<std::filesystem::path>& parts) {
  TraceFile file(path);
  for (const auto& part : parts) {
    std::ifstream in(part);
    bool has_end = false;
    for (std::string line; std::getline(in, line);) {
      if (line == "]}") has_end = true;
      if (!line.starts_with("{\"ph\"")) continue;
      if (line.ends_with(',')) line.pop_back();
      file.add(line);
    }
    if (!has_end)
      throw DataError("trace: " + part.string() +
                      " is not there or has no end; the ranks' traces must lie where rank 0 sees them");
  }
  file.commit();
}

}  // namespace athanor
