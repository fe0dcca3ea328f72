// Losses of a scalar head, against the reference on every device and type.
#include <cmath>

#include "tests/support/device_fixture.hpp"
#include "tests/support/reference_ops.hpp"

namespace athanor {
namespace {

class PreferenceTest : public DeviceTest {
 protected:
  Tensor sums() { return tensor(std::vector<double>(kNumScalarSums, 0.5), {kNumScalarSums}, DType::f64); }
  Tensor numbers(std::vector<double>& values) { return tensor(values, {std::ssize(values)}, acc()); }
};

// Promise: loss, counts and gradient of 41 pairs of 13 answers, with margins and centering, far-off scores among them;
// a pair of weight 0 counts for nothing, an answer of no pair has gradient 0.
TEST_P(PreferenceTest, Pairwise) {
  for (const double centering : {0.0, 0.01})
    for (const bool has_margins : {false, true}) {
      std::vector<double> scores = random_values(13, 1, -3.0, 3.0), weights = random_values(41, 2, 0.1, 1.0),
                          margins = random_values(41, 3, 0.0, 1.0);
      scores[3] = 1000.0, scores[4] = -1000.0;  // exp of their difference overflows
      weights[7] = 0.0;
      std::vector<std::int32_t> pairs;
      const auto better = random_ids(41, 4, 11), step = random_ids(41, 5, 10);
      for (std::size_t p = 0; p < 41; ++p) {
        pairs.push_back(better[p]);
        pairs.push_back((better[p] + 1 + step[p]) % 11);  // answers 11 and 12 are of no pair
      }
      Tensor dscores_N = output({13}, acc()), sums_8 = sums();
      const Tensor scores_N = numbers(scores), weights_P = numbers(weights), margins_P = numbers(margins);

      ops().pairwise_preference(dscores_N, sums_8, scores_N, ids(pairs, {41, 2}), has_margins ? margins_P : Tensor{},
                                weights_P, centering, stream());

      const auto wanted = reference::pairwise_preference(scores, pairs, has_margins ? margins : reference::Values{},
                                                         weights, centering);
      // Up to 8 pairs of an answer are added in the type of the scores, each up to 40 in size with centering.
      EXPECT_TRUE(near(read(dscores_N), wanted.gradient, {acc_bound(8 * 40).absolute, acc_bound(16).relative}));
      const auto found = read(sums_8);
      EXPECT_NEAR(found[kPreferenceLoss], 0.5 + wanted.loss, 1e-12 * wanted.loss);
      EXPECT_EQ(found[kPreferenceCount], 0.5 + 40.0);
      EXPECT_EQ(found[kPreferenceRight], 0.5 + wanted.right);
      EXPECT_EQ(read(dscores_N)[12], 0.0);
    }
}

// Promise: binary cross-entropy and its gradient with labels of both kinds, far-off scores among them.
TEST_P(PreferenceTest, Pointwise) {
  std::vector<double> scores = random_values(101, 1, -5.0, 5.0), labels, weights = random_values(101, 2, 0.1, 1.0);
  for (const std::int32_t label : random_ids(101, 3, 2)) labels.push_back(label);
  scores[5] = 2000.0, scores[6] = -2000.0, weights[9] = 0.0;
  Tensor dscores_N = output({101}, acc()), sums_8 = sums();
  const Tensor scores_N = numbers(scores), labels_N = numbers(labels), weights_N = numbers(weights);

  ops().pointwise_preference(dscores_N, sums_8, scores_N, labels_N, weights_N, stream());

  const auto wanted = reference::pointwise_preference(scores, labels, weights);
  EXPECT_TRUE(near(read(dscores_N), wanted.gradient, acc_bound()));
  const auto found = read(sums_8);
  EXPECT_NEAR(found[kPreferenceLoss], 0.5 + wanted.loss, 1e-12 * wanted.loss);
  EXPECT_EQ(found[kPreferenceCount], 0.5 + 100.0);
  EXPECT_EQ(found[kPreferenceRight], 0.5 + wanted.right);
  EXPECT_EQ(found[kPreferenceGoodCount] + found[kPreferenceBadCount], 1.0 + 100.0);
}

// Promise: the worse of value and clipped value counts, with and without a clip.
TEST_P(PreferenceTest, Values) {
  for (const double clip : {0.0, 0.2}) {
    std::vector<double> values = random_values(257, 1), old = random_values(257, 2), returns = random_values(257, 3),
                        weights = random_values(257, 4, 0.1, 1.0);
    for (std::size_t t = 0; t < 257; ++t) old[t] = values[t] + 0.4 * old[t];
    weights[0] = weights[100] = 0.0;
    Tensor dvalues_T = output({257}, acc()), sums_8 = sums();
    const Tensor values_T = numbers(values), old_T = numbers(old), returns_T = numbers(returns),
                 weights_T = numbers(weights);

    ops().value_regression(dvalues_T, sums_8, values_T, clip > 0.0 ? old_T : Tensor{}, returns_T, weights_T, clip,
                           stream());

    const auto wanted = reference::value_regression(values, old, returns, weights, clip);
    EXPECT_TRUE(near(read(dvalues_T), wanted.gradient, acc_bound()));
    const auto found = read(sums_8);
    EXPECT_NEAR(found[kValueLoss], 0.5 + wanted.loss, 1e-12 * wanted.loss);
    EXPECT_EQ(found[kValueTokens], 0.5 + 255.0);
    EXPECT_EQ(found[kValueClipped], 0.5 + wanted.right);
    EXPECT_EQ(wanted.right > 0.0, clip > 0.0);
  }
}

// Promise: pairs of answers that there are not, and operands of two types, are refused.
TEST_P(PreferenceTest, RefusesWhatDoesNotFit) {
  std::vector<double> two{1.0, 2.0}, one{1.0};
  Tensor dscores_N = output({2}, acc()), sums_8 = sums();
  const Tensor scores_N = numbers(two), weights_P = numbers(one);
  const auto run = [&](const Tensor& pairs_P2) {
    ops().pairwise_preference(dscores_N, sums_8, scores_N, pairs_P2, {}, weights_P, 0.0, stream());
    stream().synchronize();
  };
  EXPECT_NO_THROW(run(ids({1, 0}, {1, 2})));
  EXPECT_THROW(run(ids({2, 0}, {1, 2})), Error);
  EXPECT_THROW(run(ids({1, 0, 1, 0}, {2, 2})), Error);
  EXPECT_THROW(ops().value_regression(dscores_N, sums_8, scores_N, {}, weights_P, scores_N, 0.0, stream()), Error);
}

INSTANTIATE_TEST_SUITE_P(Backends, PreferenceTest, testing::ValuesIn(device_cases({DType::f64, DType::f32})),
                         device_case_name);

}  // namespace
}  // namespace athanor
