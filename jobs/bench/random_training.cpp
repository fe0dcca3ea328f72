#include "jobs/bench/random_training.hpp"

#include <algorithm>

#include "io/dataset/micro_batch_builder.hpp"
#include "jobs/trainer.hpp"
#include "parallel/data/owned_slices.hpp"

namespace athanor {
namespace {

ParameterStore::Options store_options(ProcessMesh& mesh) {
  ParameterStore::Options options;
  options.pad_elements = ReductionRanks(mesh).bucket_pad();
  return options;
}

}  // namespace

RandomTraining::RandomTraining(const JobOptions& options, Environment& env)
    : env_(env),
      model_(make_model(*env.ops, options, *env.mesh, *env.compute)),
      store_(*env.ops, model_->parameters(), store_options(*env.mesh), *env.compute),
      train_(*env.ops, model_->chunks(), store_, *env.mesh, options.optimizer, options.run.dtype, *env.compute,
             *env.comm, schedule_of(options.parallel), options.model.dim, options.parallel.recompute),
      batches_(random_batches(options)),
      tokens_per_step_(options.data.batch_sequences * options.data.sequence_length) {
  store_.initialize(options.run.seed, *env.compute);
  train_.start();
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
  train_.run({.step = ++steps_done_, .lr = 1e-4, .bias_speed = 1e-3}, batches_);
  env_.compute->synchronize();
  return seconds_since(begin);
}

}  // namespace athanor
