// athanor report RUN_FOLDER: its page, or the job in it as it goes on.
#include "jobs/report/report.hpp"

#include <fmt/format.h>

#include "io/options/configuration.hpp"
#include "io/options/invocation.hpp"
#include "jobs/commands/commands.hpp"
#include "jobs/report/follow.hpp"
#include "parallel/agreement.hpp"
#include "src/base/error.hpp"

namespace athanor {

int report_command(const std::vector<std::string>& words, HostGroup& world) {
  std::string run;
  bool follow = false;
  double interval = 2.0;
  OptionTable own;
  own.section("", "report");
  own.add("run", run, "FOLDER", "a run folder (also the first word)");
  own.add("follow", follow, "show the job that is at work there in the terminal until it ends, and write no page");
  own.add("interval", interval, "seconds", "between two looks of --follow", {0.05, 3600.0});
  const Invocation invocation = parse_invocation(words, {{&own}, "run"});
  if (invocation.help) {
    if (world.rank() == 0)
      fmt::print(
          "athanor report FOLDER\n\nWrites FOLDER/report.html: curves, results and completions of every stage, on one "
          "page that\nneeds nothing else. A run writes it whenever a stage ends; this also reads a run that goes "
          "on.\n\nathanor report FOLDER --follow\n\nShows the job at work there, from its files alone: from any "
          "machine "
          "that sees the folder.\n\n{}",
          own.help());
    return kExitComplete;
  }
  Configuration(invocation.assignments, own).apply(own);
  if (run.empty()) throw ConfigError("report: no run is given; write `athanor report FOLDER`");
  on_first_rank(world, [&] {
    if (follow) return follow_run(run, interval);
    write_report(run);
    fmt::print("{}\n", (std::filesystem::path(run) / "report.html").string());
  });
  return kExitComplete;
}

}  // namespace athanor
