// athanor evaluate CHECKPOINT --data.held_out=FILE
#include <fmt/format.h>

#include <spdlog/spdlog.h>

#include <filesystem>
#include <memory>

#include "io/checkpoint/checkpoint_reader.hpp"
#include "io/options/configuration.hpp"
#include "io/options/invocation.hpp"
#include "jobs/commands/commands.hpp"
#include "jobs/evaluation.hpp"
#include "jobs/expert_placements.hpp"
#include "jobs/initial_weights.hpp"
#include "jobs/loaded_model.hpp"
#include "jobs/training_data.hpp"
#include "src/base/error.hpp"

namespace athanor {

int evaluate_command(const std::vector<std::string>& words, HostGroup& world) {
  std::string checkpoint, work, placement;
  std::int64_t balance_experts = 0;
  JobOptions job;
  OptionTable own;
  own.section("", "evaluate");
  own.add("checkpoint", checkpoint, "FOLDER", "a checkpoint, a stage or a run folder (also the first word)");
  own.add("work", work, "folder", "where token files made from text go; empty: beside the checkpoint");
  own.add(
      "balance_experts", balance_experts, "slots",
      "place the experts of every layer over the parallel.ep ranks by their load on an eighth of the text, hot ones "
      "several times, in so many slots; 0: in order");
  own.add("placement", placement, "FILE", "written with balance_experts, else read");
  OptionTable shared;
  describe(shared, job.run);
  describe(shared, job.parallel);
  describe(shared, job.data);
  const Invocation invocation = parse_invocation(words, {{&own, &shared}, "checkpoint"});
  if (invocation.help) {
    if (world.rank() == 0)
      fmt::print(
          "athanor evaluate FOLDER [--data.held_out=FILE]...\n\nWithout [data] options: on the held-out part of the "
          "checkpoint's "
          "own training data.\n\n{}\n{}",
          own.help(), shared.help());
    return kExitComplete;
  }
  const Configuration configuration(invocation.assignments, own);
  configuration.apply(own);
  if (checkpoint.empty()) throw ConfigError("evaluate: no checkpoint is given; write `athanor evaluate FOLDER`");
  const JobOptions given = configuration.job();
  const bool placed = balance_experts == 0 && !placement.empty();
  const std::int64_t num_experts =
      options_of_checkpoint(CheckpointReader(find_checkpoint(checkpoint)).state()).model.num_routed_experts;
  auto loaded = std::make_unique<LoadedModel>(
      checkpoint, given.run, given.parallel, world,
      placed ? read_placements(placement, given.parallel.ep, num_experts) : ExpertPlacements{});
  // The checkpoint's data options stand unless others are given here.
  JobOptions options = loaded->options;
  OptionTable table;
  describe(table, options.data);
  configuration.apply(table);
  const auto folder =
      work.empty() ? loaded->checkpoint.parent_path().parent_path() / "data" : std::filesystem::path(work);
  const TrainingData data = open_training_data(options.data, options.run.seed, folder, false, world,
                                               [](const std::string&, const PrepareProgress&) {});
  if (!data.held_out) throw ConfigError("evaluate: nothing to evaluate on; give --data.held_out=FILE");
  const auto evaluator_of = [&](LoadedModel& model) {
    return Evaluator(*model.environment, *model.model, *data.held_out, options, data.tokenizer->eos_id());
  };
  if (balance_experts > 0) {
    evaluator_of(*loaded).count_experts(0.125);
    Environment& env = *loaded->environment;
    const auto loads = loaded->model->expert_loads(*env.ops, *env.compute);
    const ModelConfig& config = loaded->options.model;
    const auto placements = plan_placements(
        loads, {.num_slots = balance_experts, .num_groups = config.num_expert_groups, .num_ranks = given.parallel.ep});
    if (world.rank() == 0) {
      spdlog::info("busiest rank over the mean, worst layer: {:.3f} in order, {:.3f} in {} slots",
                   worst_imbalance(loads, {}, given.parallel.ep), worst_imbalance(loads, placements, given.parallel.ep),
                   balance_experts);
      if (!placement.empty()) write_placements(placement, placements);
    }
    loaded.reset();  // one model at a time
    loaded = std::make_unique<LoadedModel>(checkpoint, given.run, given.parallel, world, placements);
  }
  const EvaluationResult result = evaluator_of(*loaded).run();
  if (world.rank() == 0)
    fmt::print(
        "{{\"checkpoint\":\"{}\",\"tokens\":{},\"loss\":{:.6f},\"perplexity\":{:.5f},\"bits_per_byte\":{:.6f},"
        "\"seconds\":{:.2f}}}\n",
        loaded->checkpoint.string(), result.tokens, result.loss, result.perplexity, result.bits_per_byte,
        result.seconds);
  return kExitComplete;
}

}  // namespace athanor
