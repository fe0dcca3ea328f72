#include "jobs/rl/pretraining_mix.hpp"

#include <fmt/format.h>

#include "src/base/error.hpp"

namespace athanor {

PretrainingMix::PretrainingMix(Environment& env, const JobOptions& options, TrainingData data, std::int64_t row_tokens)
    : env_(env),
      data_(std::move(data)),
      layout_{.sequence_length = row_tokens,
              .vocab_size = options.model.vocab_size,
              .mtp_depth = 0,
              .isolate_documents = options.data.isolate_documents,
              .eos_id = data_.tokenizer->eos_id(),
              .acc = accumulation_dtype(options.run.dtype),
              .cp_rank = env.mesh->coord(Axis::cp),
              .cp_size = env.mesh->size(Axis::cp)},
      weight_(options.rl.ptx_weight),
      sequences_(options.rl.ptx_sequences),
      rows_per_batch_(options.rl.rows_per_batch) {
  const std::int64_t granule = env.mesh->size(Axis::dp) * rows_per_batch_;
  if (sequences_ < granule || sequences_ % granule != 0)
    throw ConfigError(fmt::format(
        "rl.ptx_sequences = {}: wanted a multiple of {} (parallel.dp = {} ranks of rl.rows_per_batch = {} rows)",
        sequences_, granule, env.mesh->size(Axis::dp), rows_per_batch_));
}

std::vector<MicroBatch> PretrainingMix::rows_of(std::int64_t step) {
  const std::int64_t share = sequences_ / env_.mesh->size(Axis::dp);
  const std::int64_t first = step * sequences_ + share * env_.mesh->coord(Axis::dp);
  const auto count = static_cast<std::size_t>(share / rows_per_batch_);
  while (builders_.size() < count) builders_.push_back(std::make_unique<MicroBatchBuilder>(*env_.ops, layout_));
  std::int64_t targets = 0;
  for (std::size_t i = 0; i < count; ++i) {
    data_.train->samples(first + static_cast<std::int64_t>(i) * rows_per_batch_, builders_[i]->rows(rows_per_batch_));
    targets += builders_[i]->count_targets();
  }
  targets = env_.mesh->host(Axis::dp).sum(targets);
  std::vector<MicroBatch> rows(count);
  for (std::size_t i = 0; i < count; ++i) {
    // No balance loss: the router stays as pre-training balanced it.
    builders_[i]->build(rows[i], {weight_ / static_cast<double>(std::max<std::int64_t>(targets, 1)), 0.0, 0.0},
                        *env_.compute);
  }
  return rows;
}

}  // namespace athanor
