// athanor evaluate CHECKPOINT --data.held_out=FILE
#include <fmt/format.h>

#include <filesystem>

#include "io/options/configuration.hpp"
#include "io/options/invocation.hpp"
#include "jobs/commands/commands.hpp"
#include "jobs/evaluation.hpp"
#include "jobs/loaded_model.hpp"
#include "jobs/training_data.hpp"
#include "src/base/error.hpp"

namespace athanor {

int evaluate_command(const std::vector<std::string>& words, HostGroup& world) {
  std::string checkpoint, work;
  JobOptions job;
  OptionTable own;
  own.section("", "evaluate");
  own.add("checkpoint", checkpoint, "FOLDER", "a checkpoint, a stage or a run folder (also the first word)");
  own.add("work", work, "folder", "where token files made from text go; empty: beside the checkpoint");
  OptionTable shared;
  describe(shared, job.run);
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
  LoadedModel loaded(checkpoint, configuration.job().run, world);
  // The checkpoint's data options stand unless others are given here.
  JobOptions options = loaded.options;
  OptionTable table;
  describe(table, options.data);
  configuration.apply(table);
  const auto folder =
      work.empty() ? loaded.checkpoint.parent_path().parent_path() / "data" : std::filesystem::path(work);
  const TrainingData data = open_training_data(options.data, options.run.seed, folder, false, world,
                                               [](const std::string&, const PrepareProgress&) {});
  if (!data.held_out) throw ConfigError("evaluate: nothing to evaluate on; give --data.held_out=FILE");
  Environment& env = *loaded.environment;
  const BatchLayout layout{.sequence_length = options.data.sequence_length,
                           .vocab_size = options.model.vocab_size,
                           .isolate_documents = options.data.isolate_documents,
                           .eos_id = data.tokenizer->eos_id(),
                           .acc = accumulation_dtype(options.run.dtype)};
  Evaluator evaluator(*env.ops, *loaded.model, *data.held_out, layout,
                      std::max<std::int64_t>(1, options.data.batch_sequences / world.size()), *env.mesh, *env.compute,
                      *env.comm);
  const EvaluationResult result = evaluator.run();
  if (world.rank() == 0)
    fmt::print(
        "{{\"checkpoint\":\"{}\",\"tokens\":{},\"loss\":{:.6f},\"perplexity\":{:.5f},\"bits_per_byte\":{:.6f},"
        "\"seconds\":{:.2f}}}\n",
        loaded.checkpoint.string(), result.tokens, result.loss, result.perplexity, result.bits_per_byte,
        result.seconds);
  return kExitComplete;
}

}  // namespace athanor
