#include "jobs/rl/learned_reward.hpp"

#include <fmt/format.h>

#include "io/checkpoint/checkpoint_reader.hpp"
#include "jobs/initial_weights.hpp"
#include "jobs/loaded_model.hpp"
#include "jobs/rl/token_numbers.hpp"
#include "jobs/scalar_weights.hpp"
#include "jobs/trained_model.hpp"
#include "parallel/data/zero_optimizer.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

std::vector<std::int32_t> whole(const ScoredSequence& sequence) {
  std::vector<std::int32_t> tokens = sequence.prompt;
  tokens.insert(tokens.end(), sequence.completion.begin(), sequence.completion.end());
  return tokens;
}

std::vector<std::vector<std::int32_t>> whole(std::span<const ScoredSequence> sequences) {
  std::vector<std::vector<std::int32_t>> list;
  for (const ScoredSequence& sequence : sequences) list.push_back(whole(sequence));
  return list;
}

}  // namespace

std::vector<std::vector<double>> sequence_values(Environment& env, MeshModel& model, AnswerBatcher& batcher,
                                                 std::span<const std::vector<std::int32_t>> sequences) {
  std::vector<AnswerGroup> groups;
  for (const auto& sequence : sequences) groups.push_back({.sequences = {sequence}, .scores = {}, .labels = {}});
  const std::int64_t count = env.mesh->host(Axis::world).max(batcher.micro_batches(groups));
  std::vector<std::vector<double>> values;
  for (const MicroBatch& micro_batch : batcher.build_scoring(groups, count, *env.compute))
    values.push_back(token_numbers(env, model, micro_batch, [&](ExecContext& ctx) { return model.values(ctx); }));
  std::vector<std::vector<double>> result;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const auto place = batcher.place_of(i, 0);
    const auto first = values[place.micro_batch].begin() + static_cast<std::ptrdiff_t>(place.first);
    result.emplace_back(first, first + std::ssize(sequences[i]));
  }
  return result;
}

ScalarModel::ScalarModel(Environment& env, const JobOptions& job, const std::filesystem::path& path,
                         const Tokenizer& tokenizer, const Options& options)
    : checkpoint_(find_checkpoint(path)), env_(env), dtype_(job.run.dtype) {
  const JobOptions trained = options_of_checkpoint(checkpoint_);
  if (load_tokenizer(trained.data.tokenizer)->content_hash() != tokenizer.content_hash())
    throw ConfigError(
        fmt::format("reward model {}: it was trained with data.tokenizer = {}, which is not the tokenizer of the "
                    "sequences that it is to score; use one tokenizer for both",
                    checkpoint_.string(), trained.data.tokenizer));
  JobOptions mine = job;
  mine.model = with_scalar_head(trained.model);
  if (mine.model.num_layers != job.model.num_layers) mine.parallel.layer_split.clear();  // counted for the policy's
  if (options.row_tokens > mine.model.max_positions)
    throw ConfigError(fmt::format("reward model {}: rows of {} tokens are longer than its model.max_positions = {}",
                                  checkpoint_.string(), options.row_tokens, mine.model.max_positions));
  model_ = make_model(*env.ops, mine, *env.mesh, *env.compute);
  store_ = std::make_unique<ParameterStore>(*env.ops, model_->parameters(),
                                            ParameterStore::Options{.with_gradients = false}, *env.compute);
  auto shards = weight_shards(*store_);
  for (NamedShard& state : state_shards(model_->states(), false)) shards.push_back(std::move(state));
  if (!load_scalar_weights(checkpoint_, env.mesh->host(Axis::world), shards, *env.ops, *env.compute))
    throw ConfigError(
        fmt::format("reward model {}: it has no scalar head; give the folder of a stage of kind reward_model",
                    checkpoint_.string()));
  batcher_ = std::make_unique<AnswerBatcher>(*env.ops,
                                             AnswerBatcher::Options{.rows = {.row_tokens = options.row_tokens,
                                                                             .rows_per_batch = options.rows_per_batch,
                                                                             .acc = accumulation_dtype(dtype_),
                                                                             .tp_size = env.mesh->size(Axis::tp)}});
}

std::vector<double> ScalarModel::score(std::span<const ScoredSequence> sequences) {
  std::vector<double> scores;
  for (const auto& values : sequence_values(env_, *model_, *batcher_, whole(sequences)))
    scores.push_back(values.back());
  return scores;
}

std::vector<std::vector<double>> ScalarModel::values(std::span<const ScoredSequence> sequences) {
  auto list = sequence_values(env_, *model_, *batcher_, whole(sequences));
  for (std::size_t i = 0; i < list.size(); ++i) {
    const auto begin = list[i].begin() + std::ssize(sequences[i].prompt) - 1;
    list[i] = std::vector<double>(begin, begin + std::ssize(sequences[i].completion));
  }
  return list;
}

}  // namespace athanor
