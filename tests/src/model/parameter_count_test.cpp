#include "src/model/parameter_count.hpp"

#include <gtest/gtest.h>

#include "src/model/decode_traffic.hpp"
#include "src/model/flop_count.hpp"
#include "src/model/parameter_names.hpp"
#include "tests/src/model/toy_models.hpp"

namespace athanor {
namespace {

ModelConfig deepseek_v3() {
  ModelConfig c;
  c.vocab_size = 129280;
  c.dim = 7168;
  c.inter_dim = 18432;
  c.moe_inter_dim = 2048;
  c.num_layers = 61;
  c.first_k_dense = 3;
  c.num_heads = 128;
  c.num_routed_experts = 256;
  c.num_shared_experts = 1;
  c.experts_per_token = 8;
  c.num_expert_groups = 8;
  c.num_limited_groups = 4;
  c.route_scale = 2.5;
  c.q_lora_rank = 1536;
  c.kv_lora_rank = 512;
  c.qk_nope_head_dim = 128;
  c.qk_rope_head_dim = 64;
  c.v_head_dim = 128;
  c.mtp_depth = 1;
  return c;
}

ModelConfig deepseek_v2() {
  ModelConfig c = deepseek_v3();
  c.vocab_size = 102400;
  c.dim = 5120;
  c.inter_dim = 12288;
  c.moe_inter_dim = 1536;
  c.num_layers = 60;
  c.first_k_dense = 1;
  c.num_routed_experts = 160;
  c.num_shared_experts = 2;
  c.experts_per_token = 6;
  c.num_limited_groups = 3;
  c.router_sigmoid = false;
  c.route_scale = 16.0;
  c.mtp_depth = 0;
  return c;
}

ModelConfig deepseek_v2_lite() {
  ModelConfig c = deepseek_v2();
  c.dim = 2048;
  c.inter_dim = 10944;
  c.moe_inter_dim = 1408;
  c.num_layers = 27;
  c.num_heads = 16;
  c.num_routed_experts = 64;
  c.num_expert_groups = c.num_limited_groups = 1;
  c.route_scale = 1.0;
  c.q_lora_rank = 0;
  return c;
}

ModelConfig dense(std::int64_t vocab, std::int64_t dim, std::int64_t inter, std::int64_t layers, std::int64_t heads,
                  std::int64_t kv_heads, std::int64_t head_dim, bool tied) {
  ModelConfig c;
  c.attention = AttentionKind::gqa;
  c.vocab_size = vocab;
  c.dim = dim;
  c.inter_dim = inter;
  c.num_layers = layers;
  c.num_heads = heads;
  c.num_kv_heads = kv_heads;
  c.head_dim = head_dim;
  c.tied_head = tied;
  return c;
}

// Promises: the published totals, to the unit, without allocating.
TEST(ParameterCountTest, PublishedTotals) {
  const ParameterCount v3 = parameter_count(deepseek_v3());
  EXPECT_EQ(v3.total, 671'026'419'200);
  EXPECT_EQ(v3.activated, 37'552'297'472);
  EXPECT_EQ(v3.activated_without_embedding, 36'625'618'432);
  EXPECT_NEAR(static_cast<double>(v3.mtp), 11.61e9, 0.01e9);
  EXPECT_EQ(parameter_count(deepseek_v2()).total, 235'741'434'880);
  EXPECT_EQ(parameter_count(deepseek_v2_lite()).total, 15'706'484'224);
  EXPECT_EQ(parameter_count(deepseek_v2_lite()).activated, 2'661'150'208);
  EXPECT_EQ(parameter_count(dense(128256, 4096, 14336, 32, 32, 8, 128, false)).total, 8'030'261'248);
  ModelConfig qwen2 = dense(151936, 1536, 8960, 28, 12, 2, 128, true);
  qwen2.qkv_bias = true;
  EXPECT_EQ(parameter_count(qwen2).total, 1'543'714'304);
  ModelConfig qwen3 = dense(151936, 1024, 3072, 28, 16, 8, 128, true);
  qwen3.qk_norm = true;
  EXPECT_EQ(parameter_count(qwen3).total, 596'049'920);
  EXPECT_EQ(parameter_count(qwen3).activated_without_embedding, 596'049'920);
}

// Promises: the page of names is what the layers register, in order, with their shapes; the biases are its states.
TEST(ParameterNamesTest, EqualWhatTheLayersRegister) {
  for (const auto& [family, config] : testing::toy_models()) {
    testing::ModelBench bench(config);
    std::vector<std::string> wanted, wanted_states, found, found_states;
    for (const LogicalTensor& tensor : logical_tensors(config)) {
      auto& list = tensor.kind == LogicalTensor::Kind::router_bias ? wanted_states : wanted;
      list.push_back(tensor.name + tensor.shape.to_string());
    }
    for (const Parameter* p : bench.model().parameters()) found.push_back(p->name() + p->spec.global.to_string());
    for (const StateTensor* s : bench.model().states())
      found_states.push_back(s->spec.name + s->spec.global.to_string());
    EXPECT_EQ(found, wanted) << family;
    EXPECT_EQ(found_states, wanted_states) << family;
  }
}

// Promises: model FLOPs of a case worked by hand: one dense layer, D = 4, two heads of width 2, F = 3, V = 5, S = 7.
// Matrices: q, k, v, o 16 each, three of 12, head 20: 120 weights, 240 FLOPs. Attention: 2 heads, 2 + 2 wide, 4 keys on
// average, 2 FLOPs each: 64. Backward twice that.
TEST(FlopCountTest, ByHand) {
  ModelConfig c = dense(5, 4, 3, 1, 2, 2, 2, false);
  EXPECT_EQ(forward_flops_per_token(c, 7), 240.0 + 64.0);
  EXPECT_EQ(training_flops_per_token(c, 7), 3.0 * (240.0 + 64.0));
  c.tied_head = true;  // the same work
  EXPECT_EQ(forward_flops_per_token(c, 7), 304.0);
  c.mtp_depth = 1;  // eh_proj 32, a block 100, the head again 20; attention again
  EXPECT_EQ(forward_flops_per_token(c, 7), 304.0);
  EXPECT_EQ(training_flops_per_token(c, 7), 3.0 * (240.0 + 64.0 + 2.0 * (32 + 100 + 20) + 64.0));
}

// Promises: a mixture counts the chosen experts, the shared ones and the router.
TEST(FlopCountTest, CountsChosenExperts) {
  ModelConfig c = dense(5, 4, 3, 1, 2, 2, 2, false);
  c.num_routed_experts = 4;
  c.experts_per_token = 2;
  c.moe_inter_dim = 3;
  c.first_k_dense = 0;
  EXPECT_EQ(forward_flops_per_token(c, 7), 2.0 * (64 + 4 * 4 + 36 * (2 + 1) + 20) + 64.0);
}

// Promises: bytes of a step of generation of the case above: 136 weights of the layer with its norms, final norm 4,
// head 20 (the embedding too is 20, and read only where it is the head), 2 bytes each; a cache row holds 2 * 2 heads
// of 2.
TEST(DecodeTrafficTest, ByHand) {
  ModelConfig c = dense(5, 4, 3, 1, 2, 2, 2, false);
  const double weights = 4 * 16 + 3 * 12 + 2 * 4 + 4 + 20;
  DecodeTraffic bytes = decode_traffic(c, DType::bf16, CacheForm::latent, 3.0, 10.0);
  EXPECT_EQ(bytes.weights, 2.0 * weights);
  EXPECT_EQ(bytes.experts, 0.0);
  EXPECT_EQ(bytes.cache, 3.0 * 11.0 * 8.0 * 2.0);
  EXPECT_EQ(bytes.total(), bytes.weights + bytes.cache);
  c.tied_head = true;
  EXPECT_EQ(decode_traffic(c, DType::f32, CacheForm::latent, 3.0, 10.0).weights, 4.0 * weights);
  c.mtp_depth = 1;  // is not part of generation
  EXPECT_EQ(decode_traffic(c, DType::f32, CacheForm::latent, 3.0, 10.0).weights, 4.0 * weights);
}

// Promises: one token reads its K of E experts, two tokens 1 - (1 - K/E)^2 of them, many read all; MLA's cache has the
// width of its form; FP8 halves what multiplies in it, but neither head nor router.
TEST(DecodeTrafficTest, ExpertsFormsAndFp8) {
  ModelConfig c = deepseek_v2_lite();
  const auto at = [&](double rows) { return decode_traffic(c, DType::bf16, CacheForm::latent, rows, 0.0); };
  const double all = 2.0 * 26 * 64 * 3 * 2048 * 1408;
  EXPECT_NEAR(at(1).experts, all * 6 / 64, 1e-6 * all);
  EXPECT_NEAR(at(2).experts, all * (1 - 58.0 / 64 * 58.0 / 64), 1e-6 * all);
  EXPECT_NEAR(at(1e4).experts, all, 1e-6 * all);
  EXPECT_EQ(at(1).cache, 27 * 576 * 2.0);
  EXPECT_EQ(decode_traffic(c, DType::bf16, CacheForm::heads, 1, 0).cache, 27 * 16 * (192 + 128) * 2.0);
  const double head_and_router = 2.0 * (102400 * 2048 + 26 * 64 * 2048);
  const DecodeTraffic before = at(1e4);
  c.fp8 = true;
  EXPECT_NEAR(at(1e4).experts, before.experts * (0.5 + 1.0 / 8192), 1e-6 * all);
  EXPECT_NEAR(at(1).weights, (before.weights + head_and_router) / 2, 1e-3 * before.weights);
}

}  // namespace
}  // namespace athanor
