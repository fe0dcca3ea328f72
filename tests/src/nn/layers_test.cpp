// Gradients of the layers against differences, in f64.
#include <gtest/gtest.h>

#include "src/nn/embedding.hpp"
#include "src/nn/gqa.hpp"
#include "src/nn/linear.hpp"
#include "src/nn/mla.hpp"
#include "src/nn/rms_norm.hpp"
#include "src/nn/swiglu.hpp"
#include "tests/src/nn/layer_bench.hpp"

namespace athanor {
namespace {

using testing::LayerBench;

// Promises: the gradients of a linear map, without and with bias, are right.
TEST(LinearTest, Gradcheck) {
  LayerBench bench;
  Linear plain("w", "", DType::f64, 5, 7, 0.1);
  EXPECT_TRUE(bench.check_layer(plain, {9, 7}));
  Linear biased("w2", "b2", DType::f64, 5, 7, 0.1);
  EXPECT_TRUE(bench.check_layer(biased, {9, 7}));
}

// Promises: forward_into and backward_input_into add to what is there.
TEST(LinearTest, AccumulatesOnDemand) {
  LayerBench bench;
  Linear linear("w", "", DType::f64, 5, 7, 0.1);
  bench.give_parameters(linear.parameters());
  const Tensor x = bench.random({4, 7}, 1), y = bench.random({4, 5}, 2), dx = bench.random({4, 7}, 3);
  std::vector<double> y_wanted = bench.values(y), dx_wanted = bench.values(dx);
  Linear::Saved saved;
  const std::vector<double> y_alone = bench.values(linear.forward(bench.training(), x, saved));
  const std::vector<double> dx_alone = bench.values(linear.backward_input(bench.training(), y, saved));
  for (std::size_t i = 0; i < y_wanted.size(); ++i) y_wanted[i] += y_alone[i];
  for (std::size_t i = 0; i < dx_wanted.size(); ++i) dx_wanted[i] += dx_alone[i];

  linear.backward_input_into(bench.training(), y, dx, true, saved);
  Activation input(x);
  linear.forward_into(bench.training(), input, y, true, saved);
  EXPECT_LT(testing::relative_difference(bench.values(y), y_wanted), 1e-14);
  EXPECT_LT(testing::relative_difference(bench.values(dx), dx_wanted), 1e-14);
}

// Promises: the gradients of the norm are right, and a residual gradient is added to its input's.
TEST(RmsNormTest, Gradcheck) {
  LayerBench bench;
  RmsNorm norm("norm.weight", DType::f64, 8, 1e-3);
  EXPECT_TRUE(bench.check_layer(norm, {6, 8}));

  RmsNorm::Saved saved;
  const Tensor x = bench.random({6, 8}, 4), dy = bench.random({6, 8}, 5), residual = bench.random({6, 8}, 6);
  norm.forward(bench.training(), x, saved);
  std::vector<double> wanted = bench.values(norm.backward_input(bench.training(), dy, saved));
  const std::vector<double> added = bench.values(residual);
  for (std::size_t i = 0; i < wanted.size(); ++i) wanted[i] += added[i];
  const Tensor dx = norm.backward_input(bench.training(), dy, residual, saved);
  EXPECT_LT(testing::relative_difference(bench.values(dx), wanted), 1e-13);
}

// Promises: the gradients of the gated network are right.
TEST(SwiGluTest, Gradcheck) {
  LayerBench bench;
  SwiGlu ffn("ffn", DType::f64, 6, 10, 0.1);
  EXPECT_TRUE(bench.check_layer(ffn, {7, 6}));
}

// Promises: the rows of repeated tokens add up in the embedding's gradient, and tokens not seen have none.
TEST(EmbeddingTest, AddsTheGradientsOfRepeatedTokens) {
  LayerBench bench;
  Embedding embedding("embedding.weight", DType::f64, 4, 2, 0.1);
  bench.give_parameters(embedding.parameters());
  const std::vector<std::int32_t> ids{3, 0, 3};
  const Tensor tokens = upload_vector<std::int32_t>(bench.ops(), ids, {3}, bench.stream());
  const Tensor dy = testing::tensor_of(bench.ops(), {1, 2, 10, 20, 100, 200}, {3, 2}, DType::f64, bench.stream());
  Embedding::Saved saved;
  const std::vector<double> table = bench.values(embedding.weight().weight);
  const std::vector<double> x = bench.values(embedding.forward(bench.training(), tokens, saved));
  embedding.backward_input(bench.training(), dy, saved);
  embedding.backward_weight(bench.training(), saved);
  EXPECT_EQ(x, (std::vector<double>{table[6], table[7], table[0], table[1], table[6], table[7]}));
  EXPECT_EQ(bench.values(embedding.weight().grad), (std::vector<double>{10, 20, 0, 0, 0, 0, 101, 202}));
}

struct AttentionBench {
  LayerBench bench{{.num_sequences = 2, .tokens_per_sequence = 7, .split_documents = true}};
  RopeTables tables(RopeLayout layout, std::int64_t rope_dim, RopeScaling scaling = RopeScaling::none) {
    const RopeConfig config{.theta = 100.0,
                            .scaling = scaling,
                            .factor = 4.0,
                            .original_max_positions = 8,
                            .beta_fast = 1.0,
                            .beta_slow = 0.2,
                            .mscale = 1.0,
                            .mscale_all_dim = 0.5};
    return RopeTables(bench.ops(), config, layout, rope_dim, 16, DType::f64, bench.stream());
  }
};

MlaConfig small_mla(std::int64_t q_lora_rank) {
  return {.dim = 10,
          .num_heads = 3,
          .q_lora_rank = q_lora_rank,
          .kv_lora_rank = 5,
          .qk_nope_head_dim = 4,
          .qk_rope_head_dim = 6,
          .v_head_dim = 3,
          .softmax_scale = 0.4,
          .norm_eps = 1e-3,
          .init_std = 0.1};
}

// Promises: the gradients of MLA are right with and without query compression, over documents, with a stretched
// rotation whose amplitude is not 1.
TEST(MlaTest, Gradcheck) {
  AttentionBench setup;
  const RopeTables rope = setup.tables(RopeLayout::interleaved, 6, RopeScaling::yarn);
  Mla direct("a", DType::f64, small_mla(0), rope);
  EXPECT_TRUE(setup.bench.check_layer(direct, {14, 10}));
  Mla compressed("b", DType::f64, small_mla(7), rope);
  EXPECT_TRUE(setup.bench.check_layer(compressed, {14, 10}));
}

// Promises: the gradients of grouped-query attention are right for Llama, Qwen2 (bias) and Qwen3 (head norms).
TEST(GqaTest, Gradcheck) {
  AttentionBench setup;
  const RopeTables rope = setup.tables(RopeLayout::half, 6);
  GqaConfig config{.dim = 10,
                   .num_heads = 4,
                   .num_kv_heads = 2,
                   .head_dim = 6,
                   .softmax_scale = 0.4,
                   .norm_eps = 1e-3,
                   .init_std = 0.1};
  Gqa llama("llama", DType::f64, config, rope);
  EXPECT_TRUE(setup.bench.check_layer(llama, {14, 10}));
  config.qkv_bias = true;
  Gqa qwen2("qwen2", DType::f64, config, rope);
  EXPECT_TRUE(setup.bench.check_layer(qwen2, {14, 10}));
  config.qkv_bias = false;
  config.qk_norm = true;
  Gqa qwen3("qwen3", DType::f64, config, rope);
  EXPECT_TRUE(setup.bench.check_layer(qwen3, {14, 10}));
}

// Promises: a token's output does not depend on later tokens nor on another document.
TEST(MlaTest, SeesItsPastOnly) {
  AttentionBench setup;
  LayerBench& bench = setup.bench;
  const RopeTables rope = setup.tables(RopeLayout::interleaved, 6);
  Mla mla("a", DType::f64, small_mla(0), rope);
  bench.give_parameters(mla.parameters());
  std::vector<double> x = testing::random_values(14 * 10, 1);
  const auto run = [&] {
    Mla::Saved unused;
    return bench.values(mla.forward(bench.evaluation(),
                                    testing::tensor_of(bench.ops(), x, {14, 10}, DType::f64, bench.stream()), unused));
  };
  const std::vector<double> before = run();
  for (std::size_t i = 50; i < 60; ++i) x[i] += 1.0;  // token 5 of row 0: its document is tokens 3 to 6
  const std::vector<double> after = run();
  for (std::size_t t = 0; t < 14; ++t) {
    const bool same = std::equal(before.begin() + static_cast<std::ptrdiff_t>(t * 10),
                                 before.begin() + static_cast<std::ptrdiff_t>(t * 10 + 10),
                                 after.begin() + static_cast<std::ptrdiff_t>(t * 10));
    EXPECT_EQ(same, t != 5 && t != 6) << "token " << t;
  }
}

// Promises: W may come late. Two micro-batches whose F and I are interleaved, with both W at the end, give the
// gradients of one after the other.
TEST(MlaTest, WeightGradientsMayComeLate) {
  AttentionBench setup;
  LayerBench& bench = setup.bench;
  const RopeTables rope = setup.tables(RopeLayout::interleaved, 6);
  Mla prompt("a", DType::f64, small_mla(7), rope), late("a", DType::f64, small_mla(7), rope);
  bench.give_parameters(prompt.parameters());
  bench.give_parameters(late.parameters());
  const Tensor x[2] = {bench.random({14, 10}, 1), bench.random({14, 10}, 2)};
  const Tensor dy[2] = {bench.random({14, 10}, 3), bench.random({14, 10}, 4)};
  Mla::Saved saved[2];
  for (int m = 0; m < 2; ++m) {
    prompt.forward(bench.training(), x[m], saved[m]);
    prompt.backward_input(bench.training(), dy[m], saved[m]);
    prompt.backward_weight(bench.training(), saved[m]);
  }
  for (int m = 0; m < 2; ++m) late.forward(bench.training(), x[m], saved[m]);
  for (int m = 0; m < 2; ++m) late.backward_input(bench.training(), dy[m], saved[m]);
  for (int m = 0; m < 2; ++m) late.backward_weight(bench.training(), saved[m]);
  for (std::size_t i = 0; i < prompt.parameters().size(); ++i)
    EXPECT_EQ(bench.values(late.parameters()[i]->grad), bench.values(prompt.parameters()[i]->grad))
        << prompt.parameters()[i]->name();
}

}  // namespace
}  // namespace athanor
