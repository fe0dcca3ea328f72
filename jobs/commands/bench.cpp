// athanor bench [--config FILE]: training speed of a model as a share of the matrix-product peak measured in this
// process.
#include <fmt/format.h>
#include <omp.h>
#include <sys/resource.h>

#include <chrono>

#include "io/dataset/micro_batch_builder.hpp"
#include "io/options/configuration.hpp"
#include "io/options/invocation.hpp"
#include "jobs/commands/commands.hpp"
#include "jobs/environment.hpp"
#include "jobs/machine_ceiling.hpp"
#include "jobs/trainer.hpp"
#include "parallel/data/owned_slices.hpp"
#include "parallel/train_step.hpp"
#include "src/base/error.hpp"
#include "src/model/flop_count.hpp"
#include "src/model/transformer.hpp"

namespace athanor {
namespace {

/// Random tokens as this rank's micro-batches of a step.
std::vector<MicroBatch> random_batches(const JobOptions& options, Environment& env) {
  const std::int64_t ranks = env.mesh->size(Axis::dp), rank = env.mesh->coord(Axis::dp);
  const std::int64_t share =
      options.data.batch_sequences * (rank + 1) / ranks - options.data.batch_sequences * rank / ranks;
  const std::int64_t most = options.data.micro_batch_sequences > 0 ? options.data.micro_batch_sequences : share;
  BatchLayout layout{.sequence_length = options.data.sequence_length,
                     .vocab_size = options.model.vocab_size,
                     .mtp_depth = options.model.mtp_depth,
                     .acc = accumulation_dtype(options.run.dtype),
                     .cp_rank = env.mesh->coord(Axis::cp),
                     .cp_size = env.mesh->size(Axis::cp)};
  MicroBatchBuilder builder(*env.ops, layout);
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
                  *env.compute);
  }
  return batches;
}

}  // namespace

int bench_command(const std::vector<std::string>& words, HostGroup& world) {
  std::string action = "train";
  std::int64_t steps = 5;
  OptionTable own;
  own.section("", "bench");
  own.add("action", action, "train", "what to measure (also the first word)");
  own.add("steps", steps, "steps", "timed, after two to warm up", kPositive);
  JobOptions shown;
  OptionTable shared;
  describe(shared, shown);
  const Invocation invocation = parse_invocation(words, {{&own, &shared}, "action"});
  if (invocation.help) {
    if (world.rank() == 0)
      fmt::print(
          "athanor bench train --config FILE [--section.key=value]...\n\nTrains on random tokens and prints one JSON "
          "line.\n\n{}\n{}",
          own.help(), shared.help());
    return kExitComplete;
  }
  const Configuration configuration(invocation.assignments, own);
  configuration.apply(own);
  if (action != "train") throw ConfigError("bench: '" + action + "' is not known; there is `bench train`");
  const JobOptions options = configuration.job();
  options.model.validate();
  Environment env(options, world);
  const auto peak_own = measure_gemm_peak(*env.ops, options.run.dtype, *env.compute);
  const double peak = world.sum(peak_own), peak_f32 = world.sum(measure_gemm_peak(*env.ops, DType::f32, *env.compute));
  const double copy = world.sum(measure_copy_bandwidth(*env.ops, *env.compute));

  const auto model = make_model(*env.ops, options, *env.mesh, *env.compute);
  ParameterStore::Options store_options;
  store_options.pad_elements = ReductionRanks(*env.mesh).bucket_pad();
  ParameterStore store(*env.ops, model->parameters(), store_options, *env.compute);
  TrainStep train(*env.ops, {model.get()}, store, *env.mesh, options.optimizer, options.run.dtype, *env.compute,
                  *env.comm);
  store.initialize(options.run.seed, *env.compute);
  train.start();
  const std::vector<MicroBatch> batches = random_batches(options, env);
  StepPlan plan{.step = 1, .lr = 1e-4, .bias_speed = 1e-3};
  for (int i = 0; i < 2; ++i) train.run(plan, batches);
  env.ops->arena().reset_peak();
  world.barrier();
  const auto begin = std::chrono::steady_clock::now();
  for (std::int64_t i = 0; i < steps; ++i) train.run(plan, batches);
  world.barrier();
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / static_cast<double>(steps);
  const double tokens = static_cast<double>(options.data.batch_sequences * options.data.sequence_length);
  const double flops = tokens * training_flops_per_token(options.model, options.data.sequence_length) / seconds;
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  if (world.rank() == 0)
    fmt::print(
        "{{\"parameters\":{},\"dtype\":\"{}\",\"ranks\":{},\"threads\":{},\"tokens_per_step\":{},\"step_seconds\":{:."
        "4f},"
        "\"tokens_per_second\":{:.0f},\"model_gflops\":{:.1f},\"gemm_peak_gflops\":{:.1f},\"gemm_peak_f32_gflops\":{:."
        "1f},"
        "\"share_of_peak\":{:.3f},\"share_of_f32_peak\":{:.3f},\"copy_gb_per_second\":{:.1f},\"tensor_peak_mb\":{:.1f},"
        "\"resident_peak_mb\":{:.1f}}}\n",
        store.numel(), to_string(options.run.dtype), world.size(), omp_get_max_threads(),
        static_cast<std::int64_t>(tokens), seconds, tokens / seconds, flops * 1e-9, peak * 1e-9, peak_f32 * 1e-9,
        flops / peak, flops / peak_f32, copy * 1e-9,
        static_cast<double>(env.ops->arena().statistics().peak_in_use_bytes) * 1e-6,
        static_cast<double>(usage.ru_maxrss) * 1024e-6);
  return kExitComplete;
}

}  // namespace athanor
