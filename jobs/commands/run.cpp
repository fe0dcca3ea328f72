// athanor run --config FILE: a recipe.
#include <fmt/format.h>

#include <filesystem>

#include "io/options/configuration.hpp"
#include "io/options/invocation.hpp"
#include "jobs/commands/commands.hpp"
#include "jobs/recipe.hpp"
#include "src/base/error.hpp"

namespace athanor {

int run_command(const std::vector<std::string>& words, HostGroup& world) {
  JobOptions job;
  StageOptions stage;
  OptionTable table;
  describe(table, job);
  describe(table, stage);
  const Invocation invocation =
      parse_invocation(words, {.options = {&table}, .positional_key = "", .takes_stage_keys = true});
  if (invocation.help) {
    if (world.rank() == 0)
      fmt::print(
          "athanor run --config FILE... [--section.key=value]...\n\n"
          "Runs the stages that the files list as `[recipe] stage = NAME`, each described by its section `[NAME]`.\n"
          "Command line beats files, later files beat earlier ones; what a stage's section says beats the shared "
          "sections.\n"
          "Exit status: 0 complete, 75 stopped and resumable, 2 bad usage or configuration, 1 failed.\n\n{}",
          table.help());
    return kExitComplete;
  }
  if (invocation.config_files.empty())
    throw ConfigError("run: no recipe is given; write --config FILE (configs/recipes/ has some)");
  const Configuration configuration(invocation.assignments, OptionTable{});
  const auto name = std::filesystem::path(invocation.config_files.back()).stem();
  const StageStatus status = run_recipe(configuration, (std::filesystem::path("runs") / name).string(), world);
  return status == StageStatus::complete ? kExitComplete : kExitInterrupted;
}

}  // namespace athanor
