// What a scalar head learns from: the gradients of every loss through the head against differences in f64, and the
// losses on numbers worked out by hand.
#include "src/loss/scalar_loss.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "src/base/error.hpp"
#include "tests/src/nn/layer_bench.hpp"

namespace athanor {
namespace {

using testing::CheckedTensor;
using testing::LayerBench;

constexpr std::int64_t kDim = 5;

struct Bench : LayerBench {
  ValueHead head{DType::f64, kDim};
  ScalarLoss loss{head};
  Tensor h_TD = random({tokens(), kDim}, 1);
  Tensor sums_8 = ops().empty({kNumScalarSums}, DType::f64);

  Bench() { give_parameters(head.parameters()); }
  Tensor reals(const std::vector<double>& values) {
    return testing::tensor_of(ops(), values, {std::ssize(values)}, DType::f64, stream());
  }
  Tensor ids(const std::vector<std::int32_t>& values, const Shape& shape) {
    return upload_vector<std::int32_t>(ops(), values, shape, stream());
  }
  /// The sums, and the gradient of h.
  std::vector<double> run(Tensor* dh_TD = nullptr) {
    ops().fill(sums_8, 0.0, stream());
    ScalarLoss::Saved saved;
    loss.forward(training(), h_TD, sums_8, saved);
    const Tensor gradient = loss.backward_input(saved);
    if (dh_TD) *dh_TD = gradient;
    return values(sums_8);
  }
  /// @param has_bias  false: a bias cannot matter, as in differences.
  ::testing::AssertionResult check(bool has_bias = true) {
    for (const Parameter* parameter : head.parameters()) ops().fill(parameter->grad, 0.0, stream());
    Tensor dh_TD;
    run(&dh_TD);
    std::vector<CheckedTensor> list = checked(head.parameters());
    if (!has_bias) list.pop_back();
    list.push_back({"h", h_TD, values(dh_TD)});
    return gradcheck(ops(), stream(), [this] { return run()[0]; }, list, {.max_elements = 64});
  }
};

MicroBatch::PreferenceRows three_answers(Bench& bench) {
  MicroBatch::PreferenceRows rows;
  rows.places_N = bench.ids({2, 5, 11}, {3});
  rows.pairs_P2 = bench.ids({0, 1, 0, 2, 2, 1}, {3, 2});
  rows.pair_weights_P = bench.reals({0.5, 0.25, 0.125});
  return rows;
}

// Promise: Bradley-Terry with margins and centering.
TEST(ScalarLoss, GradcheckOfPairs) {
  Bench bench;
  bench.batch().preference = three_answers(bench);
  EXPECT_TRUE(bench.check(false));
  bench.batch().preference->pair_margins_P = bench.reals({0.1, 0.4, 0.0});
  bench.batch().preference->centering = 0.05;
  EXPECT_TRUE(bench.check());
}

// Promise: binary cross-entropy of labelled answers.
TEST(ScalarLoss, GradcheckOfLabels) {
  Bench bench;
  MicroBatch::PreferenceRows rows;
  rows.places_N = bench.ids({0, 3, 7, 10}, {4});
  rows.labels_N = bench.reals({1, 0, 0, 1});
  rows.label_weights_N = bench.reals({0.25, 0.25, 0.5, 0.1});
  bench.batch().preference = rows;
  EXPECT_TRUE(bench.check());
}

// Promise: value regression with and without a clip, some tokens beyond it, some that do not count.
TEST(ScalarLoss, GradcheckOfValues) {
  for (const double clip : {0.0, 0.2}) {
    Bench bench;
    const auto count = bench.tokens();
    bench.batch().loss_weights_T = bench.reals({0, 0.1, 0.2, 0.1, 0, 0.1, 0.1, 0.3, 0.1, 0.1, 0.2, 0});
    ASSERT_EQ(count, 12);
    bench.batch().value = MicroBatch::ValueRows{bench.random({count}, 5), bench.random({count}, 6), clip};
    EXPECT_TRUE(bench.check());
    EXPECT_EQ(bench.run()[kValueTokens], 9.0);
    EXPECT_EQ(bench.run()[kValueClipped] > 0.0, clip > 0.0);
  }
}

// Promise: three answers ranked a > c > b with values 2, 0, 1: pairs ab, ac, cb, each weighing a third.
TEST(ScalarLoss, PairsByHand) {
  Bench bench;
  testing::upload_doubles(bench.ops(), bench.head.parameters()[0]->weight, {1, 0, 0, 0, 0}, bench.stream());
  testing::upload_doubles(bench.ops(), bench.head.parameters()[1]->weight, {0}, bench.stream());
  std::vector<double> h(static_cast<std::size_t>(bench.tokens() * kDim), 0.0);
  h[2 * kDim] = 2.0, h[5 * kDim] = 0.0, h[11 * kDim] = 1.0;
  testing::upload_doubles(bench.ops(), bench.h_TD, h, bench.stream());
  MicroBatch::PreferenceRows rows = three_answers(bench);
  rows.pair_weights_P = bench.reals({1.0 / 3, 1.0 / 3, 1.0 / 3});
  bench.batch().preference = rows;
  const auto sums = bench.run();
  const auto cost = [](double d) { return std::log1p(std::exp(-d)); };
  EXPECT_NEAR(sums[kPreferenceLoss], (cost(2.0) + 2.0 * cost(1.0)) / 3.0, 1e-14);
  EXPECT_EQ(sums[kPreferenceCount], 3.0);
  EXPECT_EQ(sums[kPreferenceRight], 3.0);
  EXPECT_EQ(sums[kPreferenceGoodScore] / 3.0, 5.0 / 3.0);
}

// Promise: a micro-batch without answers costs nothing and has a gradient of zeros; one with neither preferences nor
// values is refused.
TEST(ScalarLoss, EmptyAndMissing) {
  Bench bench;
  bench.batch().preference = MicroBatch::PreferenceRows{};
  Tensor dh_TD;
  EXPECT_EQ(bench.run(&dh_TD)[0], 0.0);
  for (const double value : bench.values(dh_TD)) EXPECT_EQ(value, 0.0);
  bench.batch().preference.reset();
  EXPECT_THROW(bench.run(), Error);
}

}  // namespace
}  // namespace athanor
