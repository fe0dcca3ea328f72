// Generation on the emulated GPU: the steps that are recorded and replayed write what steps write that are run.
#include <gtest/gtest.h>

#include "parallel/rollout/rollout_engine.hpp"
#include "src/backend/cuda/cuda_backend.hpp"
#include "src/backend/device_offer.hpp"
#include "src/nn/parameter.hpp"
#include "tests/parallel/tiny_models.hpp"

namespace athanor {
namespace {

struct Job {
  Job(std::unique_ptr<Backend> device, AttentionKind attention, bool fp8 = false)
      : ops(std::move(device)),
        compute(ops->make_stream()),
        mesh(self, {}, *ops, true),
        model(*ops, mesh, {.config = config_of(attention, fp8), .dtype = fp8 ? DType::bf16 : DType::f32}, *compute),
        store(*ops, model.parameters(), ParameterStore::Options{.with_gradients = false}, *compute) {
    store.initialize(7, *compute);
  }
  static ModelConfig config_of(AttentionKind attention, bool fp8) {
    ModelConfig config = testing::sampling_config(attention);
    config.num_layers = 2;
    config.vocab_size = 40;
    config.mtp_depth = 0;
    if (!fp8) return config;
    config.fp8 = true;  // sides of its matrices are multiples of 16
    config.dim = 32;
    config.kv_lora_rank = config.qk_nope_head_dim = config.qk_rope_head_dim = config.v_head_dim = 16;
    config.head_dim = 16;
    config.inter_dim = 48;
    config.moe_inter_dim = 16;
    return config;
  }
  std::vector<Completion> generate(std::int64_t look_every, std::int64_t slots, CacheForm form,
                                   RolloutEngine::Statistics* statistics = nullptr, std::int64_t cache_tokens = 0) {
    RolloutOptions options;
    options.max_new_tokens = new_tokens;
    options.group_size = 2;
    options.seed = 5;
    options.stop_ids = {1, 2};
    RolloutEngine engine(*ops, model, mesh,
                         {.size = {.slots = slots, .sequence_tokens = 40, .cache_tokens = cache_tokens},
                          .form = form,
                          .look_every = look_every},
                         nullptr, *compute);
    std::vector<RolloutPrompt> prompts;
    for (std::int64_t i = 0; i < 3; ++i) {
      RolloutPrompt prompt{100 + i, {}};
      for (std::int64_t t = 0; t < 6 + 10 * i; ++t)
        prompt.tokens.push_back(static_cast<std::int32_t>((37 * i + 11 * t) % 40));
      prompts.push_back(prompt);
    }
    const auto completions = engine.generate(prompts, options);
    if (statistics) *statistics = engine.statistics();
    return completions;
  }

  std::int64_t new_tokens = 14;
  HostGroup self = HostGroup::self();
  std::unique_ptr<Backend> ops;
  std::unique_ptr<Stream> compute;
  ProcessMesh mesh;
  MeshModel model;
  ParameterStore store;
};

void expect_same(const std::vector<Completion>& found, const std::vector<Completion>& wanted, double bound) {
  ASSERT_EQ(found.size(), wanted.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].tokens, wanted[i].tokens) << i;
    EXPECT_EQ(found[i].end, wanted[i].end) << i;
    ASSERT_EQ(found[i].logprobs.size(), wanted[i].logprobs.size());
    for (std::size_t t = 0; t < found[i].logprobs.size(); ++t)
      EXPECT_NEAR(found[i].logprobs[t], wanted[i].logprobs[t], bound) << i << " at " << t;
  }
}

// Promise: what is written has the same bits however many tokens lie between two looks (with one, a step is recorded
// late and rarely replayed; with 16, most are replays) and however many sequences share a step; it is what the CPU
// writes from the same weights.
TEST(RolloutOnDevice, ReplaysWriteWhatStepsWrite) {
  for (const AttentionKind attention : {AttentionKind::mla, AttentionKind::gqa})
    for (const CacheForm form : {CacheForm::latent, CacheForm::heads}) {
      if (attention == AttentionKind::gqa && form == CacheForm::heads) continue;  // one form for both
      Job gpu(std::make_unique<cuda::CudaBackend>(0), attention), cpu(make_backend("cpu"), attention);
      const auto wanted = gpu.generate(1, 2, form);
      expect_same(wanted, cpu.generate(1, 2, form), 1e-4);
      expect_same(gpu.generate(16, 2, form), wanted, 0.0);
      expect_same(gpu.generate(5, 6, form), wanted, 0.0);
      RolloutEngine::Statistics statistics;
      expect_same(gpu.generate(4, 6, form, &statistics, 64), wanted, 0.0);
      EXPECT_GT(statistics.preempted, 0);
    }
}

// Promise: with FP8 products as well, whose weights the step that brings prompts makes and the recording finds.
TEST(RolloutOnDevice, ReplaysWithFp8Weights) {
  Job gpu(std::make_unique<cuda::CudaBackend>(0), AttentionKind::mla, true);
  gpu.new_tokens = 4;  // FP8 products are slow to emulate
  const auto wanted = gpu.generate(1, 2, CacheForm::heads);
  expect_same(gpu.generate(16, 6, CacheForm::heads), wanted, 0.0);
  // Promise: after an update nothing of the weights before is found.
  Job fresh(std::make_unique<cuda::CudaBackend>(0), AttentionKind::mla, true);
  fresh.new_tokens = gpu.new_tokens;
  for (Job* job : {&gpu, &fresh}) job->store.initialize(8, *job->compute);
  expect_same(gpu.generate(16, 6, CacheForm::heads), fresh.generate(16, 6, CacheForm::heads), 0.0);
}

}  // namespace
}  // namespace athanor
