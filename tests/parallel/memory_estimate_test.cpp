// The memory that a step takes is the memory that the estimate says.
#include "src/model/memory_estimate.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "io/dataset/micro_batch_builder.hpp"
#include "parallel/data/owned_slices.hpp"
#include "parallel/mesh_model.hpp"
#include "parallel/plan/layout_plan.hpp"
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

/// As configs/models/tiny_moe.cfg.
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

/// In FP8, with activations kept so or not.
ModelConfig fp8(ModelConfig c, bool activations) {
  c.fp8 = true;
  c.fp8_activations = activations;
  return c;
}

std::vector<Case> cases() {
  return {{"smoke", smoke(), 4, 64},
          {"quickstart", quickstart(), 8, 128},
          {"pretrain_text", pretrain_text(), 8, 128},
          {"dense_gqa", dense_gqa(), 6, 100},
          {"quickstart_fp8", fp8(quickstart(), true), 1, 128},
          {"quickstart_fp8_products", fp8(quickstart(), false), 1, 128},
          {"dense_gqa_fp8", fp8(dense_gqa(), true), 2, 64}};
}

/// Eight layers, so that pipelines and their chunks have some.
Case deep(ModelConfig model, const char* name, std::int64_t sequences, std::int64_t length) {
  model.num_layers = 8;
  return {name, model, sequences, length};
}

const char* word_of(Recompute recompute) {
  return recompute == Recompute::none ? "none" : recompute == Recompute::selective ? "selective" : "full";
}

std::vector<std::pair<Case, Recompute>> cases_and_policies() {
  std::vector<std::pair<Case, Recompute>> list;
  for (const Case& one : cases())
    for (const Recompute recompute : {Recompute::none, Recompute::selective, Recompute::full})
      list.emplace_back(one, recompute);
  return list;
}

/// Weights in FP8 are made by the first micro-batch, and stay: they are none of its own.
void warm_up(Transformer& model, ExecContext& ctx) {
  if (!model.config().fp8) return;
  model.forward(ctx, 0, Tensor{});
  model.backward(ctx, 0, Tensor{});
}

class MemoryEstimateTest : public ::testing::TestWithParam<DType> {};

// Promise: what a micro-batch in flight holds after its F, and after its I, is what the estimate says of each phase.
TEST_P(MemoryEstimateTest, TellsWhatAMicroBatchKeeps) {
  for (const auto& [one, recompute] : cases_and_policies()) {
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
    ctx.recompute = recompute;
    warm_up(model, ctx);
    const auto in_use = [&] { return static_cast<double>(ops->arena().statistics().in_use_bytes); };
    const double before = in_use();

    model.forward(ctx, 0, Tensor{});
    const double after_f = in_use() - before;
    model.backward_input(ctx, 0, Tensor{});
    const double after_i = in_use() - before;
    model.backward_weight(ctx, 0);

    const ActivationMemory told =
        activation_memory(one.model, GetParam(), whole_model(one.model), {}, one.sequences * one.length, recompute);
    EXPECT_NEAR(static_cast<double>(told.forward_kept) / after_f, 1.0, 0.01) << one.name << " " << word_of(recompute);
    EXPECT_NEAR(static_cast<double>(told.weight_kept) / after_i, 1.0, 0.01) << one.name << " " << word_of(recompute);
    EXPECT_EQ(in_use(), before) << one.name;
  }
}

// Promise: the same of a model with a scalar head, whose loss needs no logits.
TEST_P(MemoryEstimateTest, TellsWhatAScalarHeadKeeps) {
  for (const Case& one : cases()) {
    const ModelConfig config = with_scalar_head(one.model);
    const auto ops = make_backend("cpu");
    const auto compute = ops->make_stream(), comm = ops->make_stream();
    Transformer model(*ops, config, GetParam(), *compute);
    const ParameterStore store(*ops, model.parameters(), {}, *compute);
    MicroBatch batch = testing::make_toy_batch(*ops, *compute,
                                               {.num_sequences = one.sequences,
                                                .tokens_per_sequence = one.length,
                                                .vocab_size = config.vocab_size,
                                                .acc = accumulation_dtype(GetParam())});
    batch.value = MicroBatch::ValueRows{batch.loss_weights_T, batch.loss_weights_T, 0.2};
    ExecContext ctx{*ops, *compute, *comm, batch, GetParam(), true};
    warm_up(model, ctx);
    const auto before = static_cast<double>(ops->arena().statistics().in_use_bytes);
    ops->arena().reset_peak();

    model.forward(ctx, 0, Tensor{});
    const double after_f = static_cast<double>(ops->arena().statistics().in_use_bytes) - before;
    const double during_f = static_cast<double>(ops->arena().statistics().peak_in_use_bytes) - before;
    model.backward_input(ctx, 0, Tensor{});
    const double after_i = static_cast<double>(ops->arena().statistics().in_use_bytes) - before;
    model.backward_weight(ctx, 0);

    const ActivationMemory told =
        activation_memory(config, GetParam(), whole_model(config), {}, one.sequences * one.length);
    EXPECT_NEAR(static_cast<double>(told.forward_kept) / after_f, 1.0, 0.01) << one.name;
    EXPECT_NEAR(static_cast<double>(told.weight_kept) / after_i, 1.0, 0.01) << one.name;
    EXPECT_NEAR(static_cast<double>(told.forward_highest) / during_f, 1.0, 0.05) << one.name;
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
    for (const auto& [one, recompute] : cases_and_policies()) {
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
      ctx.recompute = recompute;
      warm_up(model, ctx);
      const MemoryStatistics& memory = ops->arena().statistics();
      const auto before = static_cast<double>(memory.in_use_bytes);
      ops->arena().reset_peak();

      const auto peak = [&] {
        const double bytes = static_cast<double>(memory.peak_in_use_bytes) - before;
        ops->arena().reset_peak();
        return bytes;
      };
      model.forward(ctx, 0, Tensor{});
      const double after_f = static_cast<double>(memory.in_use_bytes) - before, during_f = peak();
      model.backward_input(ctx, 0, Tensor{});
      const double after_i = static_cast<double>(memory.in_use_bytes) - before, during_i = peak();
      model.backward_weight(ctx, 0);
      peak();
      model.forward(ctx, 0, Tensor{});
      peak();
      model.backward(ctx, 0, Tensor{});
      const double during_b = peak();

      const ActivationMemory told =
          activation_memory(one.model, GetParam(), whole_model(one.model), {.tp = shape.tp, .cp = shape.cp},
                            one.sequences * one.length, recompute);
      const std::string where = fmt::format("{} {} dp {} cp {} tp {} recompute {}", one.name, to_string(GetParam()),
                                            shape.dp, shape.cp, shape.tp, word_of(recompute));
      EXPECT_NEAR(static_cast<double>(told.forward_kept) / after_f, 1.0, 0.02) << where;
      EXPECT_NEAR(static_cast<double>(told.weight_kept) / after_i, 1.0, 0.02) << where;
      EXPECT_NEAR(static_cast<double>(told.forward_highest) / during_f, 1.0, 0.05) << where;
      EXPECT_NEAR(static_cast<double>(told.backward_highest) / during_i, 1.0, 0.05) << where;
      EXPECT_NEAR(static_cast<double>(told.fused_highest) / during_b, 1.0, 0.05) << where;
    }
}

struct Layout {
  MeshShape mesh;
  SchedulePlan schedule = {};
  std::vector<std::int64_t> layer_split = {};
  Recompute recompute = Recompute::none;
  bool bf16_moments = false;
};

constexpr std::int64_t kMicroBatches = 4;  // in a step of every data-parallel rank

/// Most bytes of tensors on this rank in two steps on a layout.
std::int64_t measured_peak(ProcessMesh& mesh, Backend& ops, const Case& one, DType dtype, const Layout& layout) {
  const auto compute = ops.make_stream(), comm = ops.make_stream();
  MeshModel model(ops, mesh,
                  {.config = one.model,
                   .dtype = dtype,
                   .chunk_rank = layout.schedule.chunk_rank(mesh.size(Axis::pp)),
                   .layer_split = layout.layer_split},
                  *compute);
  ParameterStore store(ops, model.parameters(), {.pad_elements = ReductionRanks(mesh).bucket_pad()}, *compute);
  OptimizerOptions options;
  options.adamw.bf16_moments = layout.bf16_moments;
  TrainStep train(ops, model.chunks(), store, mesh, options, dtype, *compute, *comm, layout.schedule, one.model.dim,
                  layout.recompute);
  store.initialize(1, *compute);
  train.start();
  MicroBatchBuilder builder(ops, {.sequence_length = one.length,
                                  .vocab_size = one.model.vocab_size,
                                  .mtp_depth = one.model.mtp_depth,
                                  .acc = accumulation_dtype(dtype),
                                  .cp_rank = mesh.coord(Axis::cp),
                                  .cp_size = mesh.size(Axis::cp)});
  std::vector<MicroBatch> batches(static_cast<std::size_t>(kMicroBatches));
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

/// What the planner says of the same.
LayoutPlan plan_of(const Case& one, DType dtype, const Layout& layout) {
  PlanQuestion question;
  question.model = one.model;
  question.dtype = dtype;
  question.adamw.bf16_moments = layout.bf16_moments;
  question.shape = layout.mesh;
  question.schedule = layout.schedule;
  question.layer_split = layout.layer_split;
  question.recompute = layout.recompute;
  question.sequence_length = one.length;
  question.batch_sequences = kMicroBatches * one.sequences * layout.mesh.dp;
  question.micro_batch_sequences = one.sequences;
  return plan_layout(question);
}

/// The measured peak of every rank is what the plan says of its pipeline rank; so are the activations, apart from what
/// is held all the time.
void expect_as_planned(const HostGroup& world, const Case& one, DType dtype, const Layout& layout, double bound) {
  const MeshShape& m = layout.mesh;
  if (m.pp * m.dp * m.cp * m.tp != world.size() || (one.model.num_routed_experts == 0 && m.ep > 1)) return;
  const auto ops = make_backend("cpu");
  ProcessMesh mesh(world, m, *ops);
  const auto measured = static_cast<double>(measured_peak(mesh, *ops, one, dtype, layout));
  const LayoutPlan plan = plan_of(one, dtype, layout);
  const PipelineRankPlan& rank = plan.pipeline[static_cast<std::size_t>(mesh.coord(Axis::pp))];
  const auto total = static_cast<double>(rank.total_bytes()), fixed = static_cast<double>(rank.memory.total());
  const std::string where = fmt::format(
      "{} {} {} pp {} dp {} cp {} tp {} ep {} recompute {}: rank {}, planned {} of which {} fixed, measured {}",
      one.name, to_string(dtype), layout.schedule.name, m.pp, m.dp, m.cp, m.tp, m.ep, word_of(layout.recompute),
      world.rank(), total, fixed, measured);
  EXPECT_NEAR(total / measured, 1.0, bound) << where;
  EXPECT_NEAR((total - fixed) / (measured - fixed), 1.0, 1.5 * bound) << where;
}

// Promise: on one rank, where nothing is left open, weights, gradients, optimizer, activations and buffers add up to
// the measured peak, for every layer kind and policy.
TEST_P(MemoryEstimateTest, AddsUpToTheMeasuredPeak) {
  const HostGroup world = HostGroup::world();
  for (const auto& [one, recompute] : cases_and_policies())
    expect_as_planned(world, one, GetParam(),
                      {.mesh = {.dp = 1}, .recompute = recompute, .bf16_moments = recompute == Recompute::selective},
                      0.03);
}

// Promise: the peak of every rank falls with every axis as the plan says: ZeRO-1 over dp, tensors over tp, sequences
// over cp, experts over ep.
TEST_P(MemoryEstimateTest, FallsWithEveryAxis) {
  const HostGroup world = HostGroup::world();
  for (const MeshShape& shape :
       {MeshShape{.dp = 2}, MeshShape{.dp = 1, .tp = 2}, MeshShape{.dp = 1, .cp = 2}, MeshShape{.dp = 2, .ep = 2},
        MeshShape{.dp = 4}, MeshShape{.dp = 4, .ep = 4}, MeshShape{.dp = 2, .tp = 2}})
    for (const Case& one : cases())
      if (!one.model.fp8 || one.model.fp8_activations) expect_as_planned(world, one, GetParam(), {.mesh = shape}, 0.1);
}

// Promise: the same on pipelines: layers and micro-batches in flight as the schedule has them, chunks, uneven splits,
// and what is computed again.
TEST_P(MemoryEstimateTest, FollowsTheSchedule) {
  const HostGroup world = HostGroup::world();
  for (const Case& one : {deep(quickstart(), "deep experts", 4, 64), deep(dense_gqa(), "deep dense", 3, 100)}) {
    for (const char* name : {"gpipe", "1f1b", "interleaved", "zb1", "dualpipev"}) {
      const SchedulePlan schedule{name};
      for (const Recompute recompute : {Recompute::none, Recompute::selective, Recompute::full})
        expect_as_planned(world, one, GetParam(),
                          {.mesh = {.pp = 2, .dp = 1}, .schedule = schedule, .recompute = recompute}, 0.1);
      expect_as_planned(world, one, GetParam(), {.mesh = {.pp = 2, .dp = 2, .ep = 2}, .schedule = schedule}, 0.1);
    }
    for (const Recompute recompute : {Recompute::none, Recompute::full})
      expect_as_planned(world, one, GetParam(),
                        {.mesh = {.pp = 2, .dp = 1, .tp = 2}, .schedule = {"1f1b"}, .recompute = recompute}, 0.1);
    expect_as_planned(world, one, GetParam(), {.mesh = {.pp = 4, .dp = 1}, .schedule = {"1f1b"}}, 0.1);
    expect_as_planned(world, one, GetParam(), {.mesh = {.pp = 2, .dp = 1}, .layer_split = {6, 2}}, 0.1);
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
    const MemoryEstimate estimate = estimate_memory(config, DType::bf16, {}, std::span(&part, 1), {}, step);
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
      estimate_memory(config, DType::f32, {}, std::span(&part, 1), sizes, {.tokens = tokens, .micro_batches = 1});
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
