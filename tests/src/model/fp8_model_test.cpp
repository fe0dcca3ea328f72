// A whole model in FP8 beside the same model without.
#include "tests/src/model/toy_models.hpp"

namespace athanor {
namespace {

// Promise: the loss of a model in FP8 is that of the same weights without, within what 3 bits of mantissa cost, and
// gradient descent brings both down alike, though on ways of their own; the guarded device runs it too.
TEST(Fp8Model, TrainsLikeTheModelWithout) {
  const auto train = [](bool fp8, const std::string& device) {
    ModelConfig config = testing::toy_deepseek_v3_fp8();
    config.fp8 = fp8;
    testing::ModelBench bench(config, DType::f32, device);
    const MicroBatch batch = bench.batch();
    std::vector<double> losses;
    for (int step = 0; step < 25; ++step) {
      bench.clear();
      bench.train(batch);
      losses.push_back(bench.total_loss());
      for (const Parameter* p : bench.store().parameters()) {
        bench.ops().scale(p->grad, -0.02, bench.stream());
        bench.ops().add(p->weight, p->weight, p->grad, bench.stream());
      }
    }
    return losses;
  };
  const std::vector<double> exact = train(false, "cpu"), rounded = train(true, "cpu");
  EXPECT_LT(exact.back(), 0.5 * exact.front());
  EXPECT_NEAR(rounded.front(), exact.front(), 0.01 * exact.front());
  for (std::size_t i = 0; i < exact.size(); ++i) EXPECT_NEAR(rounded[i], exact[i], 0.1 * exact.front()) << i;
  EXPECT_NE(rounded, exact);
  EXPECT_EQ(train(true, "cpu-guarded"), rounded);
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
