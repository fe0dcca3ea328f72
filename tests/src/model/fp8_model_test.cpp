// A whole model in FP8 beside the same model without.
#include "tests/src/model/toy_models.hpp"

namespace athanor {
namespace {

// Promise: the loss of a model in FP8 is that of the same weights without, within what 3 bits of mantissa cost, and
// gradient descent brings both down alike, though on ways of their own, whether activations are kept in FP8 or not; the
// guarded device runs it too.
TEST(Fp8Model, TrainsLikeTheModelWithout) {
  const auto train = [](bool fp8, bool activations, const std::string& device) {
    ModelConfig config = testing::toy_deepseek_v3_fp8();
    config.fp8 = fp8;
    config.fp8_activations = activations;
    testing::ModelBench bench(config, DType::f32, device);
    const MicroBatch batch = bench.batch();
    std::vector<double> losses;
    for (int step = 0; step < 30; ++step) {
      bench.clear();
      bench.train(batch);
      losses.push_back(bench.total_loss());
      for (const Parameter* p : bench.store().parameters()) {
        bench.ops().scale(p->grad, -0.01, bench.stream());
        bench.ops().add(p->weight, p->weight, p->grad, bench.stream());
      }
    }
    return losses;
  };
  const std::vector<double> exact = train(false, true, "cpu");
  EXPECT_LT(exact.back(), 0.5 * exact.front());
  EXPECT_EQ(train(false, false, "cpu"), exact);
  for (const bool activations : {false, true}) {
    const std::vector<double> rounded = train(true, activations, "cpu");
    EXPECT_NEAR(rounded.front(), exact.front(), 0.01 * exact.front());
    for (std::size_t i = 0; i < exact.size(); ++i) EXPECT_NEAR(rounded[i], exact[i], 0.1 * exact.front()) << i;
    EXPECT_NE(rounded, exact);
    EXPECT_EQ(train(true, activations, "cpu-guarded"), rounded);
  }
}

// Promise: with activations kept in FP8, what is computed again is what it was, but for the hidden activations of
// feed-forward networks, which are made of the rounded gate and up: gradients of w_down alone see it.
TEST(Fp8Model, ComputesTheSameAgain) {
  for (const bool gqa : {false, true}) {
    ModelConfig config = testing::toy_deepseek_v3_fp8();
    if (gqa) {
      config.attention = AttentionKind::gqa;
      config.num_kv_heads = 1;
      config.head_dim = 16;
      config.rope.scaling = RopeScaling::none;
    }
    const auto gradients = [&](Recompute recompute) {
      testing::ModelBench bench(config, DType::f32);
      const MicroBatch batch = bench.batch();
      ExecContext ctx = bench.training(batch);
      ctx.recompute = recompute;
      bench.clear();
      bench.model().forward(ctx, 0, {});
      bench.model().backward_input(ctx, 0, {});
      bench.model().backward_weight(ctx, 0);
      std::map<std::string, std::vector<double>> all{{"losses", bench.losses()}};
      for (const Parameter* p : bench.store().parameters()) all[p->name()] = bench.values(p->grad);
      return all;
    };
    const auto kept = gradients(Recompute::none);
    EXPECT_EQ(gradients(Recompute::full), kept);
    for (const auto& [name, values] : gradients(Recompute::selective)) {
      if (name.find("w_down") == std::string::npos) {
        EXPECT_EQ(values, kept.at(name)) << name;
      } else {
        EXPECT_NE(values, kept.at(name)) << name;
      }
    }
  }
}

// Promise: FP8 of f64 is refused, with the key.
TEST(Fp8Model, RefusesF64) {
  try {
    testing::ModelBench bench(testing::toy_deepseek_v3_fp8(), DType::f64);
    FAIL() << "f64 was taken";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("model.fp8"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace athanor
