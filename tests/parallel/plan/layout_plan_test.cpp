// What `athanor plan` says, against cases worked by hand and the published model.
#include "parallel/plan/layout_plan.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"
#include "src/model/parameter_count.hpp"

namespace athanor {
namespace {

/// As configs/models/deepseek_v3.cfg on configs/clusters/v3_2048.cfg.
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
    for (const HeldTensor& tensor : held_tensors(deepseek_v3().model, DType::bf16, rank.part, {.dp = 128, .ep = 64}))
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
    const ModelPart& part = plan.pipeline[rank].part;
    EXPECT_EQ(part.layer_begin, next);
    // 62 units (61 layers and the MTP module) on 16 ranks: 4 each, but 3 on the first and on the last.
    EXPECT_EQ(part.layer_end - part.layer_begin, rank == 0 ? 3 : rank == 15 ? 2 : 4) << rank;
    EXPECT_EQ(part.has_embedding, rank == 0);
    EXPECT_EQ(part.has_head, rank == 15);
    EXPECT_EQ(plan.pipeline[rank].in_flight, 16 - static_cast<std::int64_t>(rank));
    next = part.layer_end;
  }
  EXPECT_EQ(next, 61);
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
  EXPECT_EQ(first.memory.activations_per_micro_batch, 8 * 131072 + 3 * 262144 + 2 * 512 + 2048);
}

// Promise: tensor and context parallelism move what their collectives add up to.
TEST(LayoutPlan, CountsTensorAndContextMessages) {
  PlanQuestion question = small();
  question.shape = {.pp = 1, .dp = 1, .cp = 2, .tp = 2};
  question.batch_sequences = 1;
  const LayoutPlan plan = plan_layout(question);

  // 64 rows of 256 floats, half of each moved: two layers of two split pairs with 4 collectives, embedding and head 2.
  EXPECT_DOUBLE_EQ(plan.pipeline[0].sent.tp, 0.5 * 64 * 256 * 4 * (2 * 2 * 4 + 2 * 2));
  // Two of four heads, keys and values, forward and backward, 128 rows, half of them the other rank's.
  EXPECT_DOUBLE_EQ(plan.pipeline[0].sent.cp, 0.5 * 128 * 4 * 2 * (2 * 2 * 2 * 64));
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
