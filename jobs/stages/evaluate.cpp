#include "jobs/stages/evaluate.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "jobs/evaluation.hpp"
#include "jobs/initial_weights.hpp"
#include "jobs/trainer.hpp"
#include "jobs/training_data.hpp"
#include "parallel/data/zero_optimizer.hpp"
#include "src/base/error.hpp"

namespace athanor {

StageStatus EvaluateStage::run(StageContext& context) {
  const JobOptions& options = context.options;
  Environment& env = context.environment;
  const TrainingData data =
      open_training_data(options.data, options.run.seed, context.folder.stage(context.name) / "data", false,
                         context.world, [](const std::string&, const PrepareProgress&) {});
  if (!data.held_out)
    throw ConfigError("stage " + context.name +
                      ": nothing to evaluate on; set data.held_out, or data.train with data.held_out_fraction");
  if (context.stage.init.empty())
    throw ConfigError("stage " + context.name +
                      ": `init` names no weights; give an earlier stage or a checkpoint folder");
  const auto model = make_model(*env.ops, options, *env.mesh, *env.compute);
  ParameterStore store(*env.ops, model->parameters(), {.with_gradients = false}, *env.compute);
  auto shards = weight_shards(store);
  for (NamedShard& state : state_shards(model->states(), false)) shards.push_back(std::move(state));
  load_initial_weights(context, shards);
  const BatchLayout layout{.sequence_length = options.data.sequence_length,
                           .vocab_size = options.model.vocab_size,
                           .isolate_documents = options.data.isolate_documents,
                           .eos_id = data.tokenizer->eos_id(),
                           .acc = accumulation_dtype(options.run.dtype),
                           .cp_rank = env.mesh->coord(Axis::cp),
                           .cp_size = env.mesh->size(Axis::cp)};
  Evaluator evaluator(*env.ops, *model, *data.held_out, layout,
                      std::max<std::int64_t>(1, options.data.batch_sequences / env.mesh->size(Axis::dp)), *env.mesh,
                      *env.compute, *env.comm);
  const EvaluationResult result = evaluator.run();
  spdlog::info("{}: {} tokens, loss {:.4f} nats a token, perplexity {:.3f}, {:.4f} bits a byte", context.name,
               result.tokens, result.loss, result.perplexity, result.bits_per_byte);
  context.summary = {{"held-out loss", fmt::format("{:.4f}", result.loss)},
                     {"perplexity", fmt::format("{:.3f}", result.perplexity)},
                     {"bits per byte", fmt::format("{:.4f}", result.bits_per_byte)},
                     {"tokens", std::to_string(result.tokens)}};
  return StageStatus::complete;
}

}  // namespace athanor
