#include "jobs/inference_model.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "jobs/initial_weights.hpp"
#include "jobs/rollout_room.hpp"
#include "jobs/trained_model.hpp"
#include "parallel/data/zero_optimizer.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

std::unique_ptr<MeshModel> model_of(StageContext& context) {
  require_init(context);
  Environment& env = context.environment;
  return make_model(*env.ops, context.options, *env.mesh, *env.compute);
}

}  // namespace

InferenceModel::InferenceModel(StageContext& context)
    : context_(context),
      model_(model_of(context)),
      store_(*context.environment.ops, model_->parameters(), {.with_gradients = false}, *context.environment.compute) {
  auto shards = weight_shards(store_);
  for (NamedShard& state : state_shards(model_->states(), false)) shards.push_back(std::move(state));
  load_initial_weights(context, shards);
}

std::unique_ptr<RolloutEngine> InferenceModel::make_engine(std::int64_t samples, std::int64_t rows,
                                                           const Tokenizer& tokenizer) {
  Environment& env = context_.environment;
  const JobOptions& options = context_.options;
  return std::make_unique<RolloutEngine>(*env.ops, *model_, *env.mesh,
                                         rollout_room(options, std::max(options.rl.slots, samples), rows), &tokenizer,
                                         *env.compute);
}

void require_init(const StageContext& context) {
  if (context.stage.init.empty())
    throw ConfigError("stage " + context.name +
                      ": `init` names no weights; give an earlier stage or a checkpoint folder");
}

std::int64_t prompt_room(const JobOptions& options, const Tokenizer& tokenizer, std::int64_t max_new_tokens,
                         std::string_view key) {
  if (tokenizer.vocab_size() > options.model.vocab_size)
    throw ConfigError(fmt::format("data.tokenizer has {} tokens, the model {} (model.vocab_size)",
                                  tokenizer.vocab_size(), options.model.vocab_size));
  if (max_new_tokens >= options.model.max_positions)
    throw ConfigError(fmt::format("{} = {} leaves no room for a prompt: model.max_positions = {}", key, max_new_tokens,
                                  options.model.max_positions));
  return options.model.max_positions - max_new_tokens;
}

}  // namespace athanor
