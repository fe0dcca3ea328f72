// The memory that a step takes is the memory that the estimate says.
#include "src/model/memory_estimate.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "io/dataset/micro_batch_builder.hpp"
#include "parallel/data/owned_slices.hpp"
#include "parallel/mesh_model.hpp"
#include "parallel/train_step.hpp"
#include "src/base/error.hpp"
#include "src/model/parameter_count.hpp"
#include "src/model/transformer.hpp"
#include "tests/support/toy_batch.hpp"

namespace athanor {
namespace {

struct Case {
  const char* name;
  ModelConfig model;
  std::int64_t sequences, length;
};

/// As configs/recipes/smoke.cfg.
ModelConfig smoke() {
  ModelConfig c;
  c.vocab_size = 264;
  c.dim = 32;
  c.num_layers = 2;
  c.max_positions = 256;
  c.num_heads = 2;
  c.q_lora_rank = c.kv_lora_rank = 16;
  c.qk_nope_head_dim = c.qk_rope_head_dim = 8;
  c.v_head_dim = 16;
  c.inter_dim = 64;
  c.num_routed_experts = 4;
  c.moe_inter_dim = 32;
  c.mtp_depth = 1;
  return c;
}

/// As configs/models/tiny_moe.cfg (quickstart).
ModelConfig quickstart() {
  ModelConfig c;
  c.vocab_size = 264;
  c.dim = 128;
  c.max_positions = 1024;
  c.kv_lora_rank = 64;
  c.qk_nope_head_dim = c.qk_rope_head_dim = 16;
  c.v_head_dim = 32;
  c.inter_dim = 256;
  c.num_routed_experts = 8;
  c.moe_inter_dim = 96;
  c.mtp_depth = 1;
  return c;
}

/// As configs/recipes/pretrain_text.cfg.
ModelConfig pretrain_text() {
  ModelConfig c = quickstart();
  c.mtp_depth = 0;
  return c;
}

ModelConfig dense_gqa() {
  ModelConfig c;
  c.vocab_size = 1000;
  c.dim = 96;
  c.num_layers = 3;
  c.max_positions = 128;
  c.attention = AttentionKind::gqa;
  c.num_heads = 6;
  c.num_kv_heads = 2;
  c.head_dim = 16;
  c.qkv_bias = c.qk_norm = c.tied_head = true;
  c.rope_interleaved = false;
  c.inter_dim = 320;
  return c;
}

std::vector<Case> cases() {
  return {{"smoke", smoke(), 4, 64},
          {"quickstart", quickstart(), 8, 128},
          {"pretrain_text", pretrain_text(), 8, 128},
          {"dense_gqa", dense_gqa(), 6, 100}};
}

/// Most bytes of tensors in a few steps of `micro_batches` micro-batches.
std::int64_t measured_peak(const Case& one, DType dtype, const OptimizerOptions& options, std::int64_t micro_batches) {
  const auto ops = make_backend("cpu");
  const auto compute = ops->make_stream(), comm = ops->make_stream();
  const HostGroup self = HostGroup::self();
  ProcessMesh mesh(self, MeshShape{}.resolved(1), *ops);
  Transformer model(*ops, one.model, dtype, *compute);
  ParameterStore store(*ops, model.parameters(), {}, *compute);
  TrainStep train(*ops, {&model}, store, mesh, options, dtype, *compute, *comm);
  store.initialize(1, *compute);
  train.start();
  std::vector<MicroBatch> batches;
  for (std::int64_t i = 0; i < micro_batches; ++i)
    batches.push_back(testing::make_toy_batch(*ops, *compute,
                                              {.num_sequences = one.sequences,
                                               .tokens_per_sequence = one.length,
                                               .vocab_size = one.model.vocab_size,
                                               .mtp_depth = one.model.mtp_depth,
                                               .acc = accumulation_dtype(dtype)}));
  ops->arena().reset_peak();
  for (std::int64_t step = 1; step <= 2; ++step) train.run({.step = step, .lr = 1e-4}, batches);
  return static_cast<std::int64_t>(ops->arena().statistics().peak_in_use_bytes);
}

class MemoryEstimateTest : public ::testing::TestWithParam<DType> {};

// Promise: weights, gradients, optimizer, activations and buffers add up to the measured peak, for every layer kind, in
// both types; and activations are what is told, not lost in the rest. On one rank nothing is left open, so the bound
// is tight.
TEST_P(MemoryEstimateTest, AddsUpToTheMeasuredPeak) {
  for (const Case& one : cases()) {
    for (const bool small_moments : {false, true}) {
      OptimizerOptions options;
      options.adamw.bf16_moments = small_moments;
      const StepCut step{.tokens = one.sequences * one.length, .micro_batches = 2};
      const MemoryEstimate estimate =
          estimate_memory(one.model, GetParam(), options.adamw, whole_model(one.model), {}, step);
      const auto measured = static_cast<double>(measured_peak(one, GetParam(), options, 2));
      const auto expected = static_cast<double>(estimate.total(1));
      EXPECT_NEAR(expected / measured, 1.0, 0.03) << one.name << " " << to_string(GetParam());
      const auto fixed = static_cast<double>(estimate.total(0) - estimate.transient);
      EXPECT_NEAR((expected - fixed) / (measured - fixed), 1.0, 0.03)
          << one.name << " " << to_string(GetParam()) << ": activations alone, fixed " << fixed << " of " << measured;
    }
  }
}

// Promise: what a micro-batch in flight holds after its F, and after its I, is what the estimate says of each phase.
TEST_P(MemoryEstimateTest, TellsWhatAMicroBatchKeeps) {
  for (const Case& one : cases()) {
    const auto ops = make_backend("cpu");
    const auto compute = ops->make_stream(), comm = ops->make_stream();
    Transformer model(*ops, one.model, GetParam(), *compute);
    const ParameterStore store(*ops, model.parameters(), {}, *compute);
    const MicroBatch batch = testing::make_toy_batch(*ops, *compute,
                                                     {.num_sequences = one.sequences,
                                                      .tokens_per_sequence = one.length,
                                                      .vocab_size = one.model.vocab_size,
                                                      .mtp_depth = one.model.mtp_depth,
                                                      .acc = accumulation_dtype(GetParam())});
    ExecContext ctx{*ops, *compute, *comm, batch, GetParam(), true};
    const auto in_use = [&] { return static_cast<double>(ops->arena().statistics().in_use_bytes); };
    const double before = in_use();

    model.forward(ctx, 0, Tensor{});
    const double after_f = in_use() - before;
    model.backward_input(ctx, 0, Tensor{});
    const double after_i = in_use() - before;
    model.backward_weight(ctx, 0);

    const ActivationMemory told =
        activation_memory(one.model, GetParam(), whole_model(one.model), {}, one.sequences * one.length);
    EXPECT_NEAR(static_cast<double>(told.forward_kept) / after_f, 1.0, 0.01) << one.name;
    EXPECT_NEAR(static_cast<double>(told.weight_kept) / after_i, 1.0, 0.01) << one.name;
    EXPECT_EQ(in_use(), before) << one.name;
  }
}

std::vector<MeshShape> layouts_of(int ranks) {
  if (ranks == 2) return {{.dp = 1, .tp = 2}, {.dp = 1, .cp = 2}};
  if (ranks == 4) return {{.dp = 1, .cp = 2, .tp = 2}, {.dp = 2, .tp = 2}};
  return {{.dp = 1}};
}

// Promise: on ranks of tp and cp a micro-batch keeps what the estimate says after F and after I, and needs no more than
// it says in between.
TEST_P(MemoryEstimateTest, HoldsOnTensorAndContextRanks) {
  const HostGroup world = HostGroup::world();
  for (const MeshShape& shape : layouts_of(world.size()))
    for (const Case& one : cases()) {
      const auto ops = make_backend("cpu");
      const auto compute = ops->make_stream(), comm = ops->make_stream();
      ProcessMesh mesh(world, shape.resolved(world.size()), *ops);
      Transformer model(*ops, one.model, GetParam(), *compute, whole_model(one.model),
                        {.ranks = ParallelRanks(&mesh.along(Axis::tp), &mesh.along(Axis::cp))});
      const ParameterStore store(*ops, model.parameters(), {}, *compute);
      MicroBatchBuilder builder(*ops, {.sequence_length = one.length,
                                       .vocab_size = one.model.vocab_size,
                                       .mtp_depth = one.model.mtp_depth,
                                       .acc = accumulation_dtype(GetParam()),
                                       .cp_rank = mesh.coord(Axis::cp),
                                       .cp_size = mesh.size(Axis::cp)});
      MicroBatch batch;
      for (std::int32_t& token : builder.rows(one.sequences)) token = 1;
      builder.build(batch, {1e-3, 0.3, 0.1}, *compute);
      ExecContext ctx{*ops, *compute, *comm, batch, GetParam(), true};
      const MemoryStatistics& memory = ops->arena().statistics();
      const auto before = static_cast<double>(memory.in_use_bytes);
      ops->arena().reset_peak();

      model.forward(ctx, 0, Tensor{});
      const double after_f = static_cast<double>(memory.in_use_bytes) - before;
      model.backward_input(ctx, 0, Tensor{});
      const double after_i = static_cast<double>(memory.in_use_bytes) - before;
      const double highest = static_cast<double>(memory.peak_in_use_bytes) - before;
      model.backward_weight(ctx, 0);

      const ActivationMemory told = activation_memory(one.model, GetParam(), whole_model(one.model),
                                                      {.tp = shape.tp, .cp = shape.cp}, one.sequences * one.length);
      const std::string where =
          fmt::format("{} {} dp {} cp {} tp {}", one.name, to_string(GetParam()), shape.dp, shape.cp, shape.tp);
      EXPECT_NEAR(static_cast<double>(told.forward_kept) / after_f, 1.0, 0.02) << where;
      EXPECT_NEAR(static_cast<double>(told.weight_kept) / after_i, 1.0, 0.02) << where;
      EXPECT_NEAR(static_cast<double>(told.highest) / highest, 1.0, 0.05) << where;
    }
}

/// Most bytes of tensors on this rank in two steps on a layout.
std::int64_t measured_peak_on(ProcessMesh& mesh, Backend& ops, const Case& one, DType dtype,
                              const SchedulePlan& schedule, std::int64_t micro_batches) {
  const auto compute = ops.make_stream(), comm = ops.make_stream();
  MeshModel model(ops, mesh,
                  {.config = one.model, .dtype = dtype, .chunk_rank = schedule.chunk_rank(mesh.size(Axis::pp))},
                  *compute);
  ParameterStore store(ops, model.parameters(), {.pad_elements = ReductionRanks(mesh).bucket_pad()}, *compute);
  TrainStep train(ops, model.chunks(), store, mesh, {}, dtype, *compute, *comm, schedule, one.model.dim);
  store.initialize(1, *compute);
  train.start();
  MicroBatchBuilder builder(ops, {.sequence_length = one.length,
                                  .vocab_size = one.model.vocab_size,
                                  .mtp_depth = one.model.mtp_depth,
                                  .acc = accumulation_dtype(dtype),
                                  .cp_rank = mesh.coord(Axis::cp),
                                  .cp_size = mesh.size(Axis::cp)});
  std::vector<MicroBatch> batches(static_cast<std::size_t>(micro_batches));
  const Philox random(3, RandomPurpose::test, static_cast<std::uint64_t>(mesh.coord(Axis::dp)));
  std::uint64_t next = 0;
  for (MicroBatch& batch : batches) {
    for (std::int32_t& token : builder.rows(one.sequences))
      token = static_cast<std::int32_t>(random.word64(next++) % static_cast<std::uint64_t>(one.model.vocab_size));
    builder.build(batch, {1e-3, 0.3, 0.1}, *compute);
  }
  ops.arena().reset_peak();
  for (std::int64_t step = 1; step <= 2; ++step) train.run({.step = step, .lr = 1e-4}, batches);
  return static_cast<std::int64_t>(ops.arena().statistics().peak_in_use_bytes);
}

// Promise: the peak of every rank falls with every axis as the estimate says: ZeRO-1 over dp, tensors over tp, layers
// and micro-batches in flight over pp, experts over ep.
TEST_P(MemoryEstimateTest, FallsWithEveryAxis) {
  const HostGroup world = HostGroup::world();
  std::vector<MeshShape> shapes;
  for (const MeshShape& shape :
       {MeshShape{.dp = 2}, MeshShape{.dp = 1, .tp = 2}, MeshShape{.dp = 1, .cp = 2}, MeshShape{.pp = 2, .dp = 1},
        MeshShape{.dp = 2, .ep = 2}, MeshShape{.dp = 4}, MeshShape{.dp = 4, .ep = 4},
        MeshShape{.pp = 2, .dp = 2, .ep = 2}, MeshShape{.pp = 2, .dp = 1, .tp = 2}})
    if (shape.pp * shape.dp * shape.cp * shape.tp == world.size()) shapes.push_back(shape);
  constexpr std::int64_t kMicroBatches = 4;
  for (const MeshShape& shape : shapes)
    for (const Case& one : cases()) {
      if (one.model.num_routed_experts == 0 && shape.ep > 1) continue;
      const auto ops = make_backend("cpu");
      ProcessMesh mesh(world, shape, *ops);
      const auto measured = static_cast<double>(measured_peak_on(mesh, *ops, one, GetParam(), {}, kMicroBatches));
      const ModelPart part = split_layers(one.model, shape.pp)[static_cast<std::size_t>(mesh.coord(Axis::pp))];
      const MemoryEstimate estimate = estimate_memory(
          one.model, GetParam(), {}, part, {.tp = shape.tp, .cp = shape.cp, .dp = shape.dp, .ep = shape.ep},
          {.tokens = one.sequences * one.length, .micro_batches = kMicroBatches});
      const std::int64_t in_flight = std::min<std::int64_t>(shape.pp - mesh.coord(Axis::pp), kMicroBatches);
      EXPECT_NEAR(static_cast<double>(estimate.total(in_flight)) / measured, 1.0, 0.1)
          << fmt::format("{} {} pp {} dp {} cp {} tp {} ep {}", one.name, to_string(GetParam()), shape.pp, shape.dp,
                         shape.cp, shape.tp, shape.ep);
    }
}

INSTANTIATE_TEST_SUITE_P(Types, MemoryEstimateTest, ::testing::Values(DType::f32, DType::bf16),
                         [](const auto& info) { return std::string(to_string(info.param)); });

// Promise: cutting the model over pipeline ranks cuts its parameters, each once but for named copies of the embedding.
TEST(MemoryEstimate, PartsAddUpToTheModel) {
  const ModelConfig config = quickstart();
  const StepCut step{.tokens = 128, .micro_batches = 1};
  std::int64_t owned = 0, copied = 0;
  for (const ModelPart& part :
       {ModelPart{0, 1, true, false}, ModelPart{1, 3, false, false}, ModelPart{3, 4, false, true}}) {
    const MemoryEstimate estimate = estimate_memory(config, DType::bf16, {}, part, {}, step);
    owned += estimate.parameters - estimate.copied_parameters;
    copied += estimate.copied_parameters;
  }
  const ParameterCount count = parameter_count(config);
  const std::int64_t biases = 4 * config.num_routed_experts;  // three layers and the MTP module; no parameters
  EXPECT_EQ(owned + biases, count.total + count.mtp);
  EXPECT_EQ(copied, config.vocab_size * config.dim);
}

// Promise: a layout that does not divide the model is refused with the option, its value and those that would do.
TEST(MemoryEstimate, RefusesImpossibleLayouts) {
  const ModelConfig config = quickstart();
  const ModelPart part = whole_model(config);
  const auto refused = [&](const LayoutSizes& sizes, std::int64_t tokens) -> std::string {
    try {
      estimate_memory(config, DType::f32, {}, part, sizes, {.tokens = tokens, .micro_batches = 1});
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "nothing was refused";
  };
  EXPECT_NE(refused({.tp = 3}, 126).find("parallel.tp = 3: wanted a divisor of model.num_heads = 4: 1, 2, 4"),
            std::string::npos);
  EXPECT_NE(refused({.dp = 16, .ep = 16}, 128).find("model.num_routed_experts = 8"), std::string::npos);
  EXPECT_NE(refused({.dp = 3, .ep = 2}, 128).find("dp*cp*tp = 3"), std::string::npos);
  EXPECT_NE(refused({.cp = 2}, 127).find("127 tokens"), std::string::npos);
}

}  // namespace
}  // namespace athanor
