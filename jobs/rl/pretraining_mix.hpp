// Rows of pre-training text beside the completions of a policy update, so that the policy keeps what it knew: PPO-ptx.
// Laws
//  * Which text a step sees follows from (data, seed, step): its place is the step's number.
//  * Its micro-batches have the shape of the completions', for they go through one pipeline.
// Source: InstructGPT (arXiv 2203.02155) eq. 2: the objective gains gamma * E[log p(text)], a mean over tokens here.
#pragma once

#include <memory>
#include <vector>

#include "io/dataset/micro_batch_builder.hpp"
#include "jobs/environment.hpp"
#include "jobs/training_data.hpp"

namespace athanor {

class PretrainingMix {
 public:
  /// @param row_tokens  of a row, as the completions'. `env` must outlive this. Collective. @throws ConfigError for
  /// text that does not fit: rl.ptx_sequences over parallel.dp and rl.rows_per_batch.
  PretrainingMix(Environment& env, const JobOptions& options, TrainingData data, std::int64_t row_tokens);

  /// The rows of this rank for a step, from 0; each target weighs rl.ptx_weight over all targets of the step.
  std::vector<MicroBatch> rows_of(std::int64_t step);
  std::uint64_t fingerprint() const { return data_.train->fingerprint(); }

 private:
  Environment& env_;
  TrainingData data_;
  BatchLayout layout_;
  double weight_;
  std::int64_t sequences_, rows_per_batch_;
  std::vector<std::unique_ptr<MicroBatchBuilder>> builders_;
};

}  // namespace athanor
