#include "jobs/bench/random_training.hpp"

#include <algorithm>

#include "io/dataset/micro_batch_builder.hpp"

namespace athanor {
RandomTraining::RandomTraining(const JobOptions& options, Environment& env)
    : env_(env),
      trained_(env, options),
      batches_(random_batches(options)),
      tokens_per_step_(options.data.batch_sequences * options.data.sequence_length) {
  trained_.initialize(options.run.seed, *env.compute);
}

std::vector<MicroBatch> RandomTraining::random_batches(const JobOptions& options) const {
  const std::int64_t ranks = env_.mesh->size(Axis::dp), rank = env_.mesh->coord(Axis::dp);
  const std::int64_t share =
      options.data.batch_sequences * (rank + 1) / ranks - options.data.batch_sequences * rank / ranks;
  const std::int64_t most = options.data.micro_batch_sequences > 0 ? options.data.micro_batch_sequences : share;
  const BatchLayout layout{.sequence_length = options.data.sequence_length,
                           .vocab_size = options.model.vocab_size,
                           .mtp_depth = options.model.mtp_depth,
                           .acc = accumulation_dtype(options.run.dtype),
                           .cp_rank = env_.mesh->coord(Axis::cp),
                           .cp_size = env_.mesh->size(Axis::cp)};
  MicroBatchBuilder builder(*env_.ops, layout);
  const Philox random(options.run.seed, RandomPurpose::test, static_cast<std::uint64_t>(rank));
  std::vector<MicroBatch> batches;
  std::uint64_t next = 0;
  const auto sequences = static_cast<double>(options.data.batch_sequences);
  for (std::int64_t done = 0; done < share; done += most) {
    for (std::int32_t& token : builder.rows(std::min(most, share - done)))
      token = static_cast<std::int32_t>(random.word64(next++) % static_cast<std::uint64_t>(options.model.vocab_size));
    batches.emplace_back();
    builder.build(batches.back(),
                  {1.0 / (sequences * static_cast<double>(layout.sequence_length)), 0.3, 1.0 / sequences},
                  *env_.compute);
  }
  return batches;
}

double RandomTraining::step() {
  const auto begin = std::chrono::steady_clock::now();
  trained_.step->run({.step = ++steps_done_, .lr = 1e-4, .bias_speed = 1e-3}, batches_);
  env_.compute->synchronize();
  return seconds_since(begin);
}

}  // namespace athanor
