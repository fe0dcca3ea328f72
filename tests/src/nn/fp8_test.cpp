// Layers that multiply in FP8: close to the same layers without, by as much as E4M3 rounds.
#include <gtest/gtest.h>

#include "src/nn/moe.hpp"
#include "src/nn/swiglu.hpp"
#include "tests/src/nn/layer_bench.hpp"

namespace athanor {
namespace {

using testing::LayerBench;

class Fp8Layers : public ::testing::Test {
 protected:
  Fp8Layers() {
    bench_.training().dtype = DType::f32;
    bench_.evaluation().dtype = DType::f32;
  }
  Tensor random(const Shape& shape, std::uint64_t number) {
    return testing::tensor_of(bench_.ops(), testing::random_values(shape.numel(), number, 1.0), shape, DType::f32,
                              bench_.stream());
  }
  /// An operand is off by 2.6 % on average (up to 2^-4), a product by 3.7 %, three of them one behind the other by 6.4
  /// %; with gate and up rounded too before their gradients by 8.5 %.
  void expect_near(const std::vector<double>& found, const std::vector<double>& exact, const char* what,
                   double bound = 0.08) {
    ASSERT_EQ(found.size(), exact.size());
    double error = 0, size = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
      error += (found[i] - exact[i]) * (found[i] - exact[i]);
      size += exact[i] * exact[i];
    }
    EXPECT_LT(std::sqrt(error / size), bound) << what;
    EXPECT_GT(std::sqrt(error / size), 0.005) << what << ": not rounded to 3 bits at all";
  }

  static constexpr const char* kNames[] = {"y", "dx", "w_gate", "w_up", "w_down"};
  LayerBench bench_;
};

// Promise: output, input gradient and weight gradients of a network in FP8 are those of the same network, rounded; also
// where the inputs were kept in FP8 alone, and with what was not kept computed again.
TEST_F(Fp8Layers, FeedForwardNetworkIsRounded) {
  SwiGlu exact("ffn", DType::f32, 160, 144, 0.1), rounded("ffn", DType::f32, 160, 144, 0.1);
  SwiGlu kept("ffn", DType::f32, 160, 144, 0.1);
  rounded.use_fp8();
  kept.use_fp8(KeptInputs::fp8);
  for (SwiGlu* ffn : {&exact, &rounded, &kept}) bench_.give_parameters(ffn->parameters());  // the same contents for all
  const Tensor x = random({37, 160}, 1), dy = random({37, 160}, 2);
  const auto run = [&](SwiGlu& ffn, Recompute recompute) {
    bench_.training().recompute = recompute;
    for (const Parameter* p : ffn.parameters()) bench_.ops().fill(p->grad, 0.0, bench_.stream());
    SwiGlu::Saved saved;
    std::vector<std::vector<double>> results;
    results.push_back(bench_.values(ffn.forward(bench_.training(), x, saved)));
    results.push_back(bench_.values(ffn.backward_input(bench_.training(), dy, saved)));
    ffn.backward_weight(bench_.training(), saved);
    for (const Parameter* p : ffn.parameters()) results.push_back(bench_.values(p->grad));
    return results;
  };
  const auto wanted = run(exact, Recompute::none), found = run(rounded, Recompute::none);
  for (std::size_t i = 0; i < wanted.size(); ++i) expect_near(found[i], wanted[i], kNames[i]);
  EXPECT_EQ(run(rounded, Recompute::selective), found);
  const auto from_fp8 = run(kept, Recompute::none), again = run(kept, Recompute::selective);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    expect_near(from_fp8[i], wanted[i], kNames[i], 0.1);
    expect_near(again[i], wanted[i], kNames[i], 0.1);
    EXPECT_NE(from_fp8[i], found[i]) << kNames[i];
    if (i < 4) {  // all but w_down's, whose input was rounded
      EXPECT_EQ(from_fp8[i], again[i]) << kNames[i];
    }
  }
}

// Promise: the same for routed experts, one of them without rows.
TEST_F(Fp8Layers, ExpertsAreRounded) {
  GroupedExperts exact("experts", DType::f32, 3, {0, 1, 2}, 48, 32, 0.1);
  GroupedExperts rounded("experts", DType::f32, 3, {0, 1, 2}, 48, 32, 0.1);
  GroupedExperts kept("experts", DType::f32, 3, {0, 1, 2}, 48, 32, 0.1);
  rounded.use_fp8();
  kept.use_fp8(KeptInputs::fp8);
  for (GroupedExperts* experts : {&exact, &rounded, &kept}) bench_.give_parameters(experts->parameters());
  const Tensor x = random({150, 48}, 3), dy = random({150, 48}, 4);
  const Tensor offsets =
      upload_vector<std::int32_t>(bench_.ops(), std::vector<std::int32_t>{0, 140, 140, 150}, {4}, bench_.stream());
  const auto run = [&](GroupedExperts& experts, Recompute recompute) {
    bench_.training().recompute = recompute;
    for (const Parameter* p : experts.parameters()) bench_.ops().fill(p->grad, 0.0, bench_.stream());
    GroupedExperts::Saved saved;
    std::vector<std::vector<double>> results;
    results.push_back(bench_.values(experts.forward(bench_.training(), Activation(x), offsets, saved)));
    results.push_back(bench_.values(experts.backward_input(bench_.training(), Activation(dy), saved)));
    experts.backward_weight(bench_.training(), saved);
    for (const Parameter* p : experts.parameters()) results.push_back(bench_.values(p->grad));
    return results;
  };
  const auto wanted = run(exact, Recompute::none), found = run(rounded, Recompute::none);
  for (std::size_t i = 0; i < wanted.size(); ++i) expect_near(found[i], wanted[i], kNames[i]);
  EXPECT_EQ(run(rounded, Recompute::selective), found);
  const auto from_fp8 = run(kept, Recompute::none), again = run(kept, Recompute::selective);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    expect_near(from_fp8[i], wanted[i], kNames[i], 0.1);
    expect_near(again[i], wanted[i], kNames[i], 0.1);
    if (i < 4) {
      EXPECT_EQ(from_fp8[i], again[i]) << kNames[i];
    }
  }
}

// Promise: a whole mixture of experts in FP8 is the same one rounded, whether rows are FP8 before they go to the
// experts or there; then experts keep rows, and gradients of their results, as they came.
TEST_F(Fp8Layers, MixtureOfExpertsIsRounded) {
  MoeConfig config;
  config.router.args = {.num_experts = 4, .top_k = 2};
  config.router.dim = config.dim = 160;
  config.moe_inter_dim = 144;
  config.num_shared_experts = 1;
  LocalDispatcher dispatcher(4);
  const auto loss_1 = bench_.ops().empty({1}, DType::f32), counts_E = bench_.ops().empty({4}, DType::i64);
  bench_.ops().fill(counts_E, 0.0, bench_.stream());
  const Tensor x = random({48, 160}, 1), dy = random({48, 160}, 2);
  std::vector<std::vector<std::vector<double>>> results;
  for (const auto& [fp8, dispatch] : {std::pair{false, false}, {true, false}, {true, true}}) {
    Moe moe(bench_.ops(), "moe", DType::f32, config, dispatcher, bench_.stream());
    if (fp8) moe.use_fp8(KeptInputs::numbers, dispatch);
    bench_.give_parameters(moe.parameters());
    moe.router().set_sums(loss_1, counts_E);
    Moe::Saved saved;
    auto& found = results.emplace_back();
    found.push_back(bench_.values(moe.forward(bench_.training(), x, saved)));
    EXPECT_EQ(saved.experts.x_RD.holds_fp8_alone(), dispatch);
    found.push_back(bench_.values(moe.backward_input(bench_.training(), dy, saved)));
    EXPECT_EQ(saved.experts.dy_RD.holds_fp8_alone(), dispatch);
    moe.backward_weight(bench_.training(), saved);
    for (const Parameter* p : moe.parameters())
      if (p->group == GradientGroup::expert) found.push_back(bench_.values(p->grad));
  }
  for (std::size_t i = 0; i < results[0].size(); ++i) {
    expect_near(results[1][i], results[0][i], kNames[i], 0.1);
    expect_near(results[2][i], results[0][i], kNames[i], 0.1);
    EXPECT_NE(results[1][i], results[2][i]) << kNames[i];
  }
}

// Promise: the input's FP8 is made once for both maps that read it and is what they keep, with gate, up and, unless it
// is computed again, hidden: a byte an element and a scale a tile. The weight's gradient is the product of what was
// kept, cut into columns.
TEST_F(Fp8Layers, KeepsFp8AloneAndOnce) {
  SwiGlu ffn("ffn", DType::f32, 160, 144, 0.1);
  ffn.use_fp8(KeptInputs::fp8);
  bench_.give_parameters(ffn.parameters());
  const std::int64_t tokens = 512;
  const Tensor x = random({tokens, 160}, 7);
  const MemoryStatistics& memory = bench_.ops().arena().statistics();
  const auto fp8 = [&](std::int64_t width) {
    return Arena::block_bytes(static_cast<std::size_t>(tokens * width)) +
           Arena::block_bytes(static_cast<std::size_t>(tokens * ((width + 127) / 128) * 4));
  };
  ExecContext& ctx = bench_.training();
  ctx.weights_epoch = new_weights_epoch();
  {
    SwiGlu::Saved warm;
    (void)ffn.forward(ctx, x, warm);  // weights in FP8 stay
  }
  for (const Recompute recompute : {Recompute::none, Recompute::selective}) {
    ctx.recompute = recompute;
    const std::size_t before = memory.in_use_bytes;
    SwiGlu::Saved saved;
    (void)ffn.forward(ctx, x, saved);
    EXPECT_EQ(memory.in_use_bytes - before, fp8(160) + (recompute == Recompute::none ? 3 : 2) * fp8(144));
  }

  Linear linear("w", "", DType::f32, 32, 160, 0.1);
  linear.use_fp8(KeptInputs::fp8);
  bench_.give_parameters(linear.parameters());
  Linear::Saved saved;
  const Tensor dy = random({tokens, 32}, 8), dw = random({32, 160}, 9);
  (void)linear.forward(ctx, x, saved);
  (void)linear.backward_input(ctx, dy, saved);
  linear.backward_weight(ctx, saved);
  const Fp8Matrix rows = bench_.ops().empty_fp8_rows(tokens, 160),
                  columns = bench_.ops().empty_fp8_columns(tokens, 160, 1);
  bench_.ops().quantize_fp8_rows(rows, x, Fp8Scaling::power_of_two, bench_.stream());
  bench_.ops().retile_fp8_columns(columns, rows, Tensor{}, bench_.stream());
  bench_.ops().gemm_fp8(dw, fp8_columns(ctx, dy), columns, false, bench_.stream());
  EXPECT_EQ(bench_.values(linear.parameters()[0]->grad), bench_.values(dw));
}

// Promise: weights in FP8 are kept as long as the context says that they did not change, and no longer; without a word
// from it they are made anew.
TEST_F(Fp8Layers, KeepsWeightsForAnEpoch) {
  Linear linear("w", "", DType::f32, 32, 32, 0.1);
  linear.use_fp8();
  bench_.give_parameters(linear.parameters());
  const Tensor x = random({4, 32}, 5);
  ExecContext& ctx = bench_.evaluation();
  const auto y = [&] {
    Linear::Saved unused;
    return bench_.values(linear.forward(ctx, x, unused));
  };
  ctx.weights_epoch = new_weights_epoch();
  const std::vector<double> before = y();
  bench_.ops().scale(linear.parameters()[0]->weight, 2.0, bench_.stream());
  EXPECT_EQ(y(), before);
  ctx.weights_epoch = new_weights_epoch();
  const std::vector<double> after = y();
  EXPECT_NE(after, before);
  ctx.weights_epoch = 0;
  EXPECT_EQ(y(), after);
  bench_.ops().scale(linear.parameters()[0]->weight, 2.0, bench_.stream());
  EXPECT_NE(y(), after);
}

// Promise: sizes that FP8 operands cannot have are refused where the model is made.
TEST_F(Fp8Layers, RefusesSizes) {
  Linear linear("layers.0.ffn.w_up", "", DType::f32, 40, 32, 0.1);
  try {
    linear.use_fp8();
    FAIL() << "40 rows were taken";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("layers.0.ffn.w_up is [40, 32]"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace athanor
