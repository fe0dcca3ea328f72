// athanor bench rollout: tokens a second of generation for reinforcement learning, on any layout, against what memory
// and arithmetic of the same process allow. rl.prompts_per_rollout groups of rl.group_size siblings write
// rl.max_new_tokens each, none ends before; prompts are random tokens.
// The floor of memory: bytes that all steps must read (src/model/decode_traffic.hpp), weights once a step for every
// copy of them, over the copy bandwidth of all ranks. Sequences beyond the slots come in waves of as many steps again.
#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <cmath>

#include "jobs/bench/bench.hpp"
#include "jobs/environment.hpp"
#include "jobs/machine_ceiling.hpp"
#include "jobs/rollout_room.hpp"
#include "jobs/trained_model.hpp"
#include "parallel/rollout/rollout_engine.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"
#include "src/base/stopwatch.hpp"
#include "src/model/decode_traffic.hpp"
#include "src/model/flop_count.hpp"
#include "src/model/parameter_count.hpp"

namespace athanor {
namespace {

constexpr std::int64_t kPromptTokens = 16;

std::vector<RolloutPrompt> random_prompts(std::int64_t first, std::int64_t count, std::int64_t vocabulary) {
  std::vector<RolloutPrompt> prompts;
  for (std::int64_t id = first; id < first + count; ++id) {
    const Philox random(1, RandomPurpose::test, static_cast<std::uint64_t>(id));
    RolloutPrompt prompt{id, {}};
    for (std::uint64_t i = 0; i < kPromptTokens; ++i)
      prompt.tokens.push_back(static_cast<std::int32_t>(random.word64(i) % static_cast<std::uint64_t>(vocabulary)));
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

/// Bytes that a whole rollout of all ranks must read.
DecodeTraffic rollout_traffic(const JobOptions& options, const ProcessMesh& mesh) {
  const RlOptions& rl = options.rl;
  const auto copies = static_cast<double>(mesh.size(Axis::data)),
             expert_copies = static_cast<double>(mesh.size(Axis::edp));
  const double sequences = static_cast<double>(rl.prompts_per_rollout * rl.group_size) / copies;
  const double waves = std::ceil(sequences / static_cast<double>(rl.slots)), rows = sequences / waves;
  const auto new_tokens = static_cast<double>(rl.max_new_tokens);
  const double context = static_cast<double>(kPromptTokens) + (new_tokens - 1.0) / 2.0;  // on average
  const auto step = [&](double rows_of_a_copy) {
    return decode_traffic(options.model, options.run.dtype, cache_form(options.run.numerics), rows_of_a_copy, context);
  };
  const double steps = waves * new_tokens;
  return {.weights = steps * copies * step(rows).weights,
          .experts = steps * expert_copies * step(rows * copies / expert_copies).experts,
          .cache = steps * copies * step(rows).cache};
}

}  // namespace

void bench_rollout(const BenchOptions& bench, const JobOptions& options, HostGroup& world) {
  Environment env(options, world);
  const RlOptions& rl = options.rl;
  const std::int64_t ranks = env.mesh->size(Axis::data);
  if (rl.prompts_per_rollout % ranks != 0)
    throw ConfigError(fmt::format("bench rollout: rl.prompts_per_rollout = {} does not divide over {} data ranks",
                                  rl.prompts_per_rollout, ranks));
  const double peak = world.sum(measure_gemm_peak(*env.ops, options.run.dtype, *env.compute));
  const double copy = world.sum(measure_copy_bandwidth(*env.ops, *env.compute));
  const auto model = make_model(*env.ops, options, *env.mesh, *env.compute);
  ParameterStore store(*env.ops, model->parameters(), ParameterStore::Options{.with_gradients = false}, *env.compute);
  store.initialize(options.run.seed, *env.compute);
  RolloutOptions how;
  how.sampling.temperature = rl.sampler.temperature;
  how.max_new_tokens = rl.max_new_tokens;
  how.group_size = rl.group_size;
  RolloutEngine engine(*env.ops, *model, *env.mesh, rollout_room(options, rl.slots, kPromptTokens + rl.max_new_tokens),
                       nullptr, *env.compute);
  const std::int64_t mine = rl.prompts_per_rollout / ranks;
  const auto prompts = random_prompts(env.mesh->coord(Axis::data) * mine, mine, options.model.vocab_size);
  engine.generate(prompts, how);  // warm-up
  std::vector<double> times;
  for (std::int64_t i = 0; i < bench.steps; ++i) {
    world.barrier();
    const auto begin = std::chrono::steady_clock::now();
    engine.generate(prompts, how);
    world.barrier();
    times.push_back(seconds_since(begin));
  }
  std::sort(times.begin(), times.end());
  const double seconds = times[times.size() / 2];
  const auto tokens = static_cast<double>(rl.prompts_per_rollout * rl.group_size * rl.max_new_tokens);
  const double flops = tokens * forward_flops_per_token(options.model, kPromptTokens + rl.max_new_tokens) / seconds;
  const DecodeTraffic floor = rollout_traffic(options, *env.mesh);
  if (world.rank() != 0) return;
  const double page_mb =
      static_cast<double>(KvCache::numbers_per_token(options.model, cache_form(options.run.numerics)) *
                          options.model.num_layers * rl.page_tokens) *
      static_cast<double>(size_bytes(options.run.dtype)) * 1e-6;
  fmt::print(
      "{{\"bench\":\"rollout\",\"active_parameters\":{},\"dtype\":\"{}\",\"fp8\":{},\"numerics\":\"{}\",\"ranks\":{},"
      "\"pp\":{},\"dp\":{},\"tp\":{},"
      "\"ep\":{},\"threads\":{},\"sequences\":{},\"slots_of_a_rank\":{},\"new_tokens\":{},\"rollout_seconds\":{:.3f},"
      "\"tokens_per_second\":{:.0f},\"model_gflops\":{:.1f},\"gemm_peak_gflops\":{:.1f},\"share_of_peak\":{:.3f},"
      "\"copy_gb_per_second\":{:.1f},\"floor_weights_gb\":{:.3f},\"floor_experts_gb\":{:.3f},\"floor_cache_gb\":{:.3f},"
      "\"floor_seconds\":{:.4f},\"times_floor\":{:.3f},"
      "\"cache_mb_of_a_rank\":{:.1f},\"cache_mb_held\":{:.1f},\"preempted\":{}}}\n",
      parameter_count(options.model).activated, to_string(options.run.dtype), options.model.fp8,
      options.run.numerics == Numerics::fast ? "fast" : "batch_invariant", world.size(), env.mesh->size(Axis::pp),
      env.mesh->size(Axis::dp), env.mesh->size(Axis::tp), env.mesh->size(Axis::ep), omp_get_max_threads(),
      rl.prompts_per_rollout * rl.group_size, rl.slots, rl.max_new_tokens, seconds, tokens / seconds, flops * 1e-9,
      peak * 1e-9, flops / peak, copy * 1e-9, floor.weights * 1e-9, floor.experts * 1e-9, floor.cache * 1e-9,
      floor.total() / copy, seconds * copy / floor.total(), page_mb * static_cast<double>(engine.num_pages()),
      page_mb * static_cast<double>(engine.statistics().most_pages_held), engine.statistics().preempted);
}

}  // namespace athanor
