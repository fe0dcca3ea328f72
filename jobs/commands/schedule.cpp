// athanor schedule [NAME] [--ranks=8] [--micro_batches=32] | --file=FILE
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>

#include "io/options/configuration.hpp"
#include "io/options/invocation.hpp"
#include "jobs/commands/commands.hpp"
#include "parallel/pipeline/draw.hpp"
#include "parallel/pipeline/lower.hpp"
#include "parallel/pipeline/make_schedules.hpp"
#include "parallel/pipeline/validate.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

constexpr int kTextColumns = 150;         // of a drawing, where it can be made to fit
constexpr std::size_t kMaxColumns = 400;  // wider ones are not printed

PipelineSchedule read_schedule(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf()))
    throw ConfigError(fmt::format("schedule: cannot read '{}'; give a file as --text=FILE writes it", path));
  return parse_schedule(text.str(), path);
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  if (!(file << text) || !file.flush())
    throw ConfigError(fmt::format("schedule: cannot write '{}'; is its folder there and writable?", path));
}

void show(const PipelineSchedule& schedule, const ScheduleTimes& times) {
  fmt::print("{}\n", to_text(schedule));
  const std::string drawing = draw_text(schedule, times, kTextColumns);
  if (drawing.find('\n') <= kMaxColumns)
    fmt::print("{}\n", drawing);
  else
    fmt::print("(the drawing has {} columns; --svg=FILE draws it)\n\n", drawing.find('\n'));
  const LoweredSchedule lowered = lower(schedule);
  fmt::print("rank       busy       idle  idle share  peak activations  messages sent\n");
  for (std::size_t rank = 0; rank < times.busy.size(); ++rank) {
    std::int64_t sent = 0;
    const auto count = [&sent](const std::vector<Message>& messages) {
      sent += std::count_if(messages.begin(), messages.end(),
                            [](const Message& message) { return message.kind == Message::Kind::send; });
    };
    for (const Step& step : lowered.ranks[rank].steps) count(step.messages);
    count(lowered.ranks[rank].last_messages);
    const double idle = times.idle(static_cast<int>(rank));
    fmt::print("{:>4} {:>10g} {:>10g} {:>9.1f} %  {:>16}  {:>13}\n", rank, times.busy[rank], idle,
               times.makespan > 0 ? 100.0 * idle / times.makespan : 0.0, times.peak_activations[rank], sent);
  }
  fmt::print("\nend at {:g} units; idle {}; peak activations {}\n", times.makespan, idle_words(times),
             *std::max_element(times.peak_activations.begin(), times.peak_activations.end()));
}

}  // namespace

int schedule_command(const std::vector<std::string>& words, HostGroup& world) {
  std::string name = "1f1b", file, svg, text;
  int ranks = 4, micro_batches = 8, virtual_chunks = 0;
  ActionTimes times;
  OptionTable own;
  own.section("", "schedule");
  own.add("name", name, "gpipe|1f1b|interleaved|zb1|dualpipev", "which (also the first word)");
  own.add("ranks", ranks, "ranks", "of the pipeline", kPositive);
  own.add("micro_batches", micro_batches, "micro-batches", "of a step", kPositive);
  own.add("virtual_chunks", virtual_chunks, "chunks", "a rank has (interleaved); 0: 2, or what the schedule wants");
  own.add("file", file, "FILE", "a schedule of your own instead: checked and simulated");
  own.add("f", times.f, "units", "a forward takes");
  own.add("i", times.i, "units", "a gradient of the input takes");
  own.add("w", times.w, "units", "a gradient of the weights takes");
  own.add("fb", times.fb, "units", "an overlapped pair of a forward and a backward takes");
  own.add("send", times.send, "units", "a message takes");
  own.add("svg", svg, "FILE", "draw it there");
  own.add("text", text, "FILE", "write it there, as --file reads it");
  const Invocation invocation = parse_invocation(words, {{&own}, "name"});
  if (invocation.help) {
    if (world.rank() == 0)
      fmt::print(
          "athanor schedule [NAME] [--ranks=8] [--micro_batches=32] [--svg=FILE]\nathanor schedule "
          "--file=FILE\n\nShows "
          "a pipeline schedule: who does what and when, the time ranks are idle, the activations they hold.\n\n{}",
          own.help());
    return kExitComplete;
  }
  Configuration(invocation.assignments, own).apply(own);
  if (!file.empty())
    for (const Assignment& assignment : invocation.assignments)
      for (const char* key : {"name", "ranks", "micro_batches", "virtual_chunks"})
        if (assignment.key == key)
          throw ConfigError(fmt::format("{}: {}: the schedule is read from {}, which says that itself; leave it out",
                                        assignment.origin, key, file));
  const PipelineSchedule schedule =
      file.empty() ? make_schedule(name, ranks, micro_batches, virtual_chunks) : read_schedule(file);
  const ScheduleTimes result = [&] {
    try {
      return simulate(schedule, times);
    } catch (const ConfigError& error) {
      throw ConfigError(file.empty() ? error.what() : fmt::format("{}: {}", file, error.what()));
    }
  }();
  if (world.rank() != 0) return kExitComplete;
  if (!svg.empty()) write_file(svg, draw_svg(schedule, result));
  if (!text.empty()) write_file(text, to_text(schedule));
  show(schedule, result);
  return kExitComplete;
}

}  // namespace athanor
