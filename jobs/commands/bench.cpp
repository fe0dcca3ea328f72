// athanor bench train|checkpoint|rollout|gpu --config FILE: what this machine gets out of the program.
#include <fmt/format.h>

#include <map>

#include "io/options/configuration.hpp"
#include "io/options/invocation.hpp"
#include "jobs/bench/bench.hpp"
#include "jobs/commands/commands.hpp"
#include "src/base/error.hpp"

namespace athanor {

int bench_command(const std::vector<std::string>& words, HostGroup& world) {
  std::string action = "train";
  BenchOptions bench;
  OptionTable own;
  own.section("", "bench");
  own.add("action", action, "train|checkpoint|rollout|gpu", "what to measure (also the first word)");
  own.add("steps", bench.steps, "steps", "timed, after two to warm up", kPositive);
  own.add("device", bench.device, "cuda|cpu|cpu-guarded", "that `bench gpu` measures");
  own.add("saves", bench.saves, "checkpoints", "saved after the first (checkpoint)", kPositive);
  JobOptions shown;
  OptionTable shared;
  describe(shared, shown);
  const Invocation invocation = parse_invocation(words, {{&own, &shared}, "action"});
  if (invocation.help) {
    if (world.rank() == 0)
      fmt::print(
          "athanor bench train|checkpoint|rollout|gpu --config FILE [--section.key=value]...\n\n"
          "Works on random tokens and prints one JSON line; shares are of what this process measured.\n"
          "train: FLOP/s as a share of the matrix-product peak. A token costs 3 * (2 N + attention): N weights of the\n"
          "  matrices it meets (K of E experts; the head, once more for each MTP module; no embedding), attention\n"
          "  layers * heads * (Q + V) * (S + 1) for sequences of S tokens, Q and V wide. FP8 too is held to the peak "
          "of "
          "bf16.\n"
          "checkpoint: what saving costs training, and write speed against a plain write of as many bytes to the same\n"
          "  disk, below run.folder.\n"
          "rollout: tokens a second of generation in groups. times_floor: its time over bytes that must be read /\n"
          "  copy bandwidth; a step reads every weight (of experts 1 - (1 - K/E)^R of them for R sequences) and the\n"
          "  cache of its sequences, on average prompt + half of rl.max_new_tokens long.\n"
          "gpu: every operation as a share of what bounds it, messages between ranks by size; needs no "
          "--config.\n\n{}\n{}",
          own.help(), shared.help());
    return kExitComplete;
  }
  const Configuration configuration(invocation.assignments, own);
  configuration.apply(own);
  const std::map<std::string, void (*)(const BenchOptions&, const JobOptions&, HostGroup&)> benches{
      {"train", bench_train}, {"checkpoint", bench_checkpoint}, {"rollout", bench_rollout}, {"gpu", bench_gpu}};
  const auto chosen = benches.find(action);
  if (chosen == benches.end())
    throw ConfigError("bench: '" + action +
                      "' is not known; there are `bench train`, `bench checkpoint`, `bench rollout` and `bench gpu`");
  const JobOptions options = configuration.job();
  if (action != "gpu") options.model.validate();
  chosen->second(bench, options, world);
  return kExitComplete;
}

}  // namespace athanor
