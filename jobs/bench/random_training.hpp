// A model in training on random tokens: what the measurements time. Law: everything of a real step but the data.
#pragma once

#include <chrono>
#include <vector>

#include "jobs/environment.hpp"
#include "jobs/trained_model.hpp"
#include "src/base/stopwatch.hpp"

namespace athanor {

class RandomTraining {
 public:
  /// New weights from the seed. Collective. `env` must outlive this. @throws ConfigError for impossible options.
  RandomTraining(const JobOptions& options, Environment& env);

  /// One optimizer step. Collective. @returns its seconds on this rank.
  double step();

  std::vector<NamedShard> shards() const { return trained_.shards(); }
  const ParameterStore& store() const { return *trained_.store; }
  std::int64_t micro_batches() const { return static_cast<std::int64_t>(batches_.size()); }  ///< of this rank
  /// Of the largest one.
  std::int64_t micro_batch_tokens() const {
    return batches_.front().num_sequences * batches_.front().tokens_per_sequence;
  }
  std::int64_t tokens_per_step() const { return tokens_per_step_; }  ///< of all ranks

 private:
  std::vector<MicroBatch> random_batches(const JobOptions& options) const;

  Environment& env_;
  TrainedModel trained_;
  std::vector<MicroBatch> batches_;
  std::int64_t tokens_per_step_, steps_done_ = 0;
};

}  // namespace athanor
