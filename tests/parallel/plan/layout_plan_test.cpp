// What `athanor plan` says, against cases worked by hand and the published model.
#include "parallel/plan/layout_plan.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"
#include "src/model/parameter_count.hpp"

namespace athanor {
namespace {

/// As configs/models/deepseek_v3.cfg on configs/layouts/v3_2048.cfg.
PlanQuestion deepseek_v3() {
  PlanQuestion question;
  ModelConfig& c = question.model;
  c.vocab_size = 129280;
  c.dim = 7168;
  c.num_layers = 61;
  c.num_heads = 128;
  c.q_lora_rank = 1536;
  c.kv_lora_rank = 512;
  c.qk_nope_head_dim = 128;
  c.qk_rope_head_dim = 64;
  c.v_head_dim = 128;
  c.inter_dim = 18432;
  c.num_routed_experts = 256;
  c.experts_per_token = 8;
  c.moe_inter_dim = 2048;
  c.first_k_dense = 3;
  c.num_expert_groups = 8;
  c.num_limited_groups = 4;
  c.route_scale = 2.5;
  c.mtp_depth = 1;
  question.shape = {.pp = 16, .dp = 128, .cp = 1, .tp = 1, .ep = 64};
  question.sequence_length = 4096;
  question.batch_sequences = 15360;
  question.micro_batch_sequences = 1;
  question.adamw.bf16_moments = true;
  return question;
}

/// Two dense layers, wide enough that every piece is a whole number of blocks.
PlanQuestion small() {
  PlanQuestion question;
  ModelConfig& c = question.model;
  c.vocab_size = 1024;
  c.dim = 256;
  c.num_layers = 2;
  c.max_positions = 128;
  c.attention = AttentionKind::gqa;
  c.num_heads = c.num_kv_heads = 4;
  c.head_dim = 64;
  c.inter_dim = 512;
  question.dtype = DType::f32;
  question.shape = {.pp = 2, .dp = 2};
  question.sequence_length = 128;
  question.batch_sequences = 8;
  question.micro_batch_sequences = 1;
  return question;
}

std::string refusal(const PlanQuestion& question) {
  try {
    plan_layout(question);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "nothing was refused";
}

// Promise: the pipeline ranks of DeepSeek-V3's layout hold the published model to the unit, its MTP module and the
// second copy of the embedding told apart.
TEST(LayoutPlan, HoldsDeepSeekV3ToTheUnit) {
  const LayoutPlan plan = plan_layout(deepseek_v3());

  EXPECT_EQ(plan.shape.ranks(), 2048);
  EXPECT_EQ(plan.micro_batches, 120);
  EXPECT_EQ(plan.parameters, 671'026'419'200);
  EXPECT_EQ(plan.mtp_parameters, parameter_count(deepseek_v3().model).mtp);
  EXPECT_EQ(plan.copied_parameters, std::int64_t{129280} * 7168);
  // Summed over ranks: dense parameters stand on each of the 64 ranks that share experts, experts on one of them.
  std::int64_t held = 0, experts = 0;
  for (const PipelineRankPlan& rank : plan.pipeline)
    for (const HeldTensor& tensor :
         held_tensors(deepseek_v3().model, DType::bf16, rank.parts.front(), {.dp = 128, .ep = 64}))
      (tensor.reduced == ReducedOver::edp ? experts : held) += tensor.numel;
  const std::int64_t biases = 59 * 256;
  EXPECT_EQ(held + 64 * experts + biases, plan.parameters + plan.mtp_parameters + plan.copied_parameters);
}

// Promise: layers are shared out evenly, shorter ranks at the ends, and 1F1B keeps p - r micro-batches in flight.
TEST(LayoutPlan, SharesLayersOut) {
  const LayoutPlan plan = plan_layout(deepseek_v3());

  ASSERT_EQ(plan.pipeline.size(), 16U);
  std::int64_t next = 0;
  for (std::size_t rank = 0; rank < 16; ++rank) {
    ASSERT_EQ(plan.pipeline[rank].parts.size(), 1U);
    const ModelPart& part = plan.pipeline[rank].parts.front();
    EXPECT_EQ(part.layer_begin, next);
    // 62 units (61 layers and the MTP module) on 16 ranks: 4 each, but 3 on the first and on the last.
    EXPECT_EQ(part.layer_end - part.layer_begin, rank == 0 ? 3 : rank == 15 ? 2 : 4) << rank;
    EXPECT_EQ(part.has_embedding, rank == 0);
    EXPECT_EQ(part.has_head, rank == 15);
    EXPECT_EQ(plan.pipeline[rank].activations.in_flight, 16 - static_cast<int>(rank));
    next = part.layer_end;
  }
  EXPECT_EQ(next, 61);
}

// Promise: what a rank of DeepSeek-V3's layout holds is what one finds by hand from the published sizes.
TEST(LayoutPlan, AgreesWithDeepSeekV3ByHand) {
  const LayoutPlan plan = plan_layout(deepseek_v3());

  // A layer with experts: attention, two norms, router, the shared expert; 4 of the 256 experts.
  constexpr std::int64_t kAttention = 187'107'328, kExpert = 44'040'192, kRouter = 256 * 7168;
  constexpr std::int64_t kDense = kAttention + 2 * 7168 + kRouter + kExpert;
  const PipelineRankPlan& rank = plan.pipeline[1];
  EXPECT_EQ(rank.memory.parameters, 4 * (kDense + 4 * kExpert));
  // bf16 weights, f32 gradients; per element owned an f32 master and two bf16 moments: the dense ones over 128 ranks,
  // the experts over 2. The arena's blocks take up to an eighth more.
  const auto near = [](std::int64_t found, double by_hand) {
    EXPECT_GE(static_cast<double>(found), by_hand);
    EXPECT_LE(static_cast<double>(found), 1.125 * by_hand);
  };
  near(rank.memory.weights, 2.0 * 4 * (kDense + 4 * kExpert) + 2.0 * 4 * kRouter);
  near(rank.memory.gradients, 4.0 * 4 * (kDense + 4 * kExpert));
  near(rank.memory.optimizer, 8.0 * 4 * (kDense / 128 + 4 * kExpert / 2));
  // MB of one layer and micro-batch of 4096 tokens: both norms' inputs; attention's x, latents, q, k, v, o; x of router
  // and shared expert, scores and their gradient, rows of 8 experts a token before and behind them, gate, up and hidden
  // of routed and of shared experts. 15 in flight on the second rank, 4 layers each.
  constexpr double kX = 4096.0 * 7168 * 2, kPairs = 8.0 * 4096, kPerHead = 4096.0 * 128 * 2;
  constexpr double kLatents = 2.0 * 4096 * 2 * (1536 + 512), kHeads = kPerHead * (192 + 192 + 128 + 128);
  constexpr double kMoe = kX + 2.0 * 4096 * 256 * 4 + 2 * kPairs * 7168 * 2 + 3 * (kPairs + 4096) * 2048 * 2;
  near(rank.activations.at_rest, 15 * 4 * (2 * kX + kX + kLatents + kHeads + kMoe));
  // Gradients in f32 and weights in bf16 over the ranks that share them, halves of the experts'.
  EXPECT_NEAR(rank.sent.reduce_scatter, 4.0 * 4 * (kDense * 127.0 / 128 + 4 * kExpert / 2.0), 1.0);
  EXPECT_NEAR(rank.sent.pp, 2.0 * 120 * kX, 1.0);
}

// Promise: without tensor parallelism the model does not fit 80 GB a rank when all activations are kept, and does when
// blocks are recomputed, as its cluster file says; or with a DualPipeV over shorter pieces of the sequences.
TEST(LayoutPlan, FitsDeepSeekV3Into80GB) {
  const auto gib = [](const PlanQuestion& question) {
    return static_cast<double>(plan_layout(question).fullest().total_bytes()) / (1 << 30);
  };
  PlanQuestion question = deepseek_v3();
  EXPECT_GT(gib(question), 140.0);
  question.schedule = {.name = "interleaved", .virtual_chunks = 2};
  question.recompute = Recompute::full;
  EXPECT_LT(gib(question), 30.0);
  question.schedule = {.name = "dualpipev"};
  EXPECT_GT(gib(question), 80.0);  // late ranks put off W of whole recomputed blocks
  question.recompute = Recompute::selective;
  EXPECT_GT(gib(question), 110.0);
  question.shape.cp = 2;
  question.shape.dp = 64;
  EXPECT_LT(gib(question), 75.0);
}

// Promise: in-flight micro-batches are the schedule's, in every schedule, and an uneven split is followed.
TEST(LayoutPlan, FollowsTheSchedule) {
  PlanQuestion question = deepseek_v3();
  question.schedule = {.name = "gpipe"};
  EXPECT_EQ(plan_layout(question).pipeline[7].activations.in_flight, 120);
  question.schedule = {.name = "zb1"};
  EXPECT_EQ(plan_layout(question).pipeline[7].activations.in_flight, 16);
  question.schedule = {.name = "dualpipev"};
  const LayoutPlan v = plan_layout(question);
  EXPECT_EQ(v.pipeline[7].activations.in_flight, 33);  // halves of a rank's layers: 2R + 1
  EXPECT_EQ(v.copied_parameters, 0);                   // both ends on rank 0
  EXPECT_TRUE(v.pipeline[0].parts.front().has_embedding && v.pipeline[0].parts.back().has_head);
  EXPECT_EQ(v.parameters, 671'026'419'200);
  question = small();
  question.model.num_layers = 6;
  question.layer_split = {4, 2};
  const LayoutPlan uneven = plan_layout(question);
  EXPECT_EQ(uneven.pipeline[0].parts.front().layer_end, 4);
  const auto of_four = static_cast<double>(uneven.pipeline[0].activations.at_rest);
  EXPECT_NEAR(of_four / static_cast<double>(uneven.pipeline[1].activations.at_rest), 4.0, 0.5);  // 2 x 4 to 1 x 2
}

// Promise: parameters, state and messages of a small dense layout are what one finds by hand.
TEST(LayoutPlan, AgreesWithASmallCaseByHand) {
  const LayoutPlan plan = plan_layout(small());

  const PipelineRankPlan &first = plan.pipeline[0], &last = plan.pipeline[1];
  // A layer: four 256 x 256 of attention, three 512 x 256 of the FFN, two norms. The ends: 1024 x 256, a norm.
  const std::int64_t layer = 4 * 65536 + 3 * 131072 + 2 * 256;
  EXPECT_EQ(first.memory.parameters, layer + 262144);
  EXPECT_EQ(last.memory.parameters, layer + 262144 + 256);
  // 918,016 floats are 3,672,064 bytes; the arena's step there is 262,144: 15 of them. Half of that for each moment.
  EXPECT_EQ(first.memory.weights, 15 * 262144);
  EXPECT_EQ(first.memory.gradients, 15 * 262144);
  EXPECT_EQ(first.memory.optimizer, 2 * 15 * 131072);
  // Four micro-batches of 128 x 256 floats to the one neighbour; half of the gradients and of the weights to the other
  // data-parallel rank.
  EXPECT_DOUBLE_EQ(first.sent.pp, 4.0 * 128 * 256 * 4);
  EXPECT_DOUBLE_EQ(last.sent.pp, 4.0 * 128 * 256 * 4);
  EXPECT_DOUBLE_EQ(first.sent.reduce_scatter, 0.5 * 918016 * 4);
  EXPECT_DOUBLE_EQ(first.sent.all_gather, 0.5 * 918016 * 4);
  EXPECT_EQ(first.sent.tp + first.sent.cp + first.sent.ep_between_nodes + first.sent.ep_within_nodes, 0.0);
  // Block input, its norm's row statistics, normed; q, k, v, o; log-sum-exp; state, statistics, normed; gate, up,
  // hidden: 8 tensors of 128 x 256, 3 of 128 x 512, two of 128 and one of 128 x 4 floats.
  // Two of those are in flight; the outputs of both are on their way.
  EXPECT_EQ(first.activations.in_flight, 2);
  EXPECT_EQ(first.activations.at_rest, 2 * (8 * 131072 + 3 * 262144 + 2 * 512 + 2048) + 2 * 131072);
}

// Promise: tensor and context parallelism move what their collectives add up to.
TEST(LayoutPlan, CountsTensorAndContextMessages) {
  PlanQuestion question = small();
  question.shape = {.pp = 1, .dp = 1, .cp = 2, .tp = 2};
  question.batch_sequences = 1;
  const LayoutPlan plan = plan_layout(question);

  // 64 rows of 256 floats, half of each moved: two layers of two split pairs with 5 collectives, embedding and head 2.
  EXPECT_DOUBLE_EQ(plan.pipeline[0].sent.tp, 0.5 * 64 * 256 * 4 * (2 * 2 * 5 + 2 * 2));
  // Two of four heads, keys and values, forward and backward, 128 rows, half of them the other rank's.
  EXPECT_DOUBLE_EQ(plan.pipeline[0].sent.cp, 0.5 * 128 * 4 * 2 * (2 * 2 * 2 * 64));
  // Computed again, a layer's two pairs move 2 more each, and keys and values once more.
  question.recompute = Recompute::full;
  const LayoutPlan again = plan_layout(question);
  EXPECT_DOUBLE_EQ(again.pipeline[0].sent.tp, 0.5 * 64 * 256 * 4 * (2 * 2 * 7 + 2 * 2));
  EXPECT_DOUBLE_EQ(again.pipeline[0].sent.cp, 1.5 * plan.pipeline[0].sent.cp);
}

// Promise: node-limited routing bounds the nodes a token goes to, and messages between nodes with them.
TEST(LayoutPlan, HonoursNodeLimitedRouting) {
  const PlanQuestion question = deepseek_v3();
  EXPECT_EQ(nodes_reached(question.model, 8), 4);
  EXPECT_EQ(nodes_reached(question.model, 2), 2);
  EXPECT_EQ(nodes_reached(question.model, 16), 8);
  ModelConfig unlimited = question.model;
  unlimited.num_limited_groups = 8;
  EXPECT_EQ(nodes_reached(unlimited, 8), 8);
  EXPECT_DOUBLE_EQ(ranks_reached(1.0, 8), 1.0);
  EXPECT_DOUBLE_EQ(ranks_reached(2.0, 2), 1.5);

  // A rank of four MoE layers: 4 trips, 120 micro-batches, 4096 rows of 7168 bf16, 4 nodes of which 7/8 are others.
  const LayoutPlan plan = plan_layout(question);
  EXPECT_DOUBLE_EQ(plan.pipeline[5].sent.ep_between_nodes, 4.0 * 120 * 4 * 4096 * 7168 * 2 * 4 * 7 / 8);

  // In FP8 half of the trips, those to experts, take a byte an element and 64 for 56 scales.
  PlanQuestion fp8 = question;
  fp8.model.fp8 = true;
  EXPECT_DOUBLE_EQ(plan_layout(fp8).pipeline[5].sent.ep_between_nodes,
                   2.0 * 120 * 4 * 4096 * (7168 * 2 + 7168 + 64) * 4 * 7 / 8);
  fp8.model.fp8_dispatch = false;
  EXPECT_EQ(plan_layout(fp8).pipeline[5].sent.ep_between_nodes, plan.pipeline[5].sent.ep_between_nodes);
}

// Promise: an impossible layout is refused with the option, its value and what would do.
TEST(LayoutPlan, RefusesImpossibleLayouts) {
  PlanQuestion question = deepseek_v3();
  question.shape.pp = 63;  // 61 layers, and the MTP module may be alone
  EXPECT_NE(refusal(question).find("would have no layer"), std::string::npos) << refusal(question);
  question = deepseek_v3();
  question.shape.ep = 48;
  EXPECT_NE(refusal(question).find("parallel.ep = 48"), std::string::npos) << refusal(question);
  question = deepseek_v3();
  question.shape.tp = 3;
  EXPECT_NE(refusal(question).find("parallel.tp = 3"), std::string::npos) << refusal(question);
  question = deepseek_v3();
  question.batch_sequences = 100;
  EXPECT_NE(refusal(question).find("data.batch_sequences = 100"), std::string::npos) << refusal(question);
  question = deepseek_v3();
  question.ranks = 1000;
  EXPECT_NE(refusal(question).find("1000 ranks"), std::string::npos) << refusal(question);
  question = deepseek_v3();
  question.shape.dp = 0;
  EXPECT_NE(refusal(question).find("parallel.dp = 0"), std::string::npos) << refusal(question);
}

}  // namespace
}  // namespace athanor
