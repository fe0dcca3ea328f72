// Losses, against the reference on every device and type.
#include <cmath>

#include "tests/support/device_fixture.hpp"
#include "tests/support/reference_ops.hpp"

namespace athanor {
namespace {

class CrossEntropyTest : public DeviceTest {};

// Promise: losses and gradients for vocabularies below, at and above a block of 2048, with far-off logits; the gradient
// may take the logits' place; a token of weight 0 costs 0 whatever its target.
TEST_P(CrossEntropyTest, AgreesWithTheReference) {
  for (const std::int64_t vocabulary : {2, 259, 2048, 5003}) {
    const std::int64_t tokens = 13;
    std::vector<double> logits = random_values(tokens * vocabulary, 1, -8.0, 8.0);
    logits[1] = 60.0;  // beside it the rest of row 0 underflows
    for (std::int64_t i = 0; i < vocabulary; ++i) logits[static_cast<std::size_t>(2 * vocabulary + i)] -= 900.0;
    auto targets = random_ids(tokens, 2, static_cast<std::int32_t>(vocabulary));
    std::vector<double> weights = random_values(tokens, 3, 0.1, 1.0);
    weights[4] = 0.0, targets[4] = -100;
    Tensor logits_TV = tensor(logits, {tokens, vocabulary}, dtype()),
           dlogits_TV = output({tokens, vocabulary}, dtype());
    const Tensor targets_T = ids(targets, {tokens}), weights_T = tensor(weights, {tokens}, acc());
    Tensor losses_T = output({tokens}, acc()), again_T = output({tokens}, acc());

    ops().cross_entropy(losses_T, dlogits_TV, logits_TV, targets_T, weights_T, stream());
    ops().cross_entropy(again_T, {}, logits_TV, targets_T, weights_T, stream());

    const auto wanted = reference::cross_entropy(logits, targets, weights, vocabulary);
    // Losses near 0 are differences of numbers of size |lse| (up to 900 in row 2).
    EXPECT_TRUE(near(read(losses_T), wanted.losses_T, acc_bound(1000))) << "vocabulary " << vocabulary;
    EXPECT_EQ(read(again_T), read(losses_T));
    // exp of a difference rounded at size 900.
    const Bound gradient{acc_bound(4).absolute, bound(1000).relative};
    EXPECT_TRUE(near(read(dlogits_TV), wanted.dlogits_TV, gradient)) << "vocabulary " << vocabulary;
    ops().cross_entropy(again_T, logits_TV, logits_TV, targets_T, weights_T, stream());
    EXPECT_EQ(read(logits_TV), read(dlogits_TV));
  }
}

// Promise: the divergence from a teacher's softmax, both ways round, and its gradient; the gradient may take the
// logits' place; a token of weight 0 costs 0.
TEST_P(CrossEntropyTest, DistillsLikeTheReference) {
  for (const std::int64_t vocabulary : {2, 259, 2048, 5003})
    for (const bool reverse : {false, true}) {
      const std::int64_t tokens = 7;
      std::vector<double> logits = random_values(tokens * vocabulary, 1, -6.0, 6.0),
                          teacher = random_values(tokens * vocabulary, 2, -6.0, 6.0),
                          weights = random_values(tokens, 3, 0.1, 1.0);
      logits[1] = 30.0;
      weights[4] = 0.0;
      Tensor logits_TV = tensor(logits, {tokens, vocabulary}, dtype()),
             dlogits_TV = output({tokens, vocabulary}, dtype());
      const Tensor teacher_TV = tensor(teacher, {tokens, vocabulary}, dtype()),
                   weights_T = tensor(weights, {tokens}, acc());
      Tensor losses_T = output({tokens}, acc()), again_T = output({tokens}, acc());

      ops().distillation(losses_T, dlogits_TV, logits_TV, teacher_TV, weights_T, reverse, stream());
      ops().distillation(again_T, {}, logits_TV, teacher_TV, weights_T, reverse, stream());

      const auto wanted = reference::distillation(logits, teacher, weights, vocabulary, reverse);
      // Divergences of up to 40, made of logarithms rounded at that size.
      EXPECT_TRUE(near(read(losses_T), wanted.losses_T, acc_bound(1000))) << "vocabulary " << vocabulary;
      EXPECT_EQ(read(again_T), read(losses_T));
      // Differences of logarithms of size 40, and of exponentials.
      const Bound gradient{acc_bound(1000).absolute, bound(1000).relative};
      EXPECT_TRUE(near(read(dlogits_TV), wanted.dlogits_TV, gradient)) << "vocabulary " << vocabulary;
      ops().distillation(again_T, logits_TV, logits_TV, teacher_TV, weights_T, reverse, stream());
      EXPECT_EQ(read(logits_TV), read(dlogits_TV));
    }
}

// Promise: NaN among the logits makes that token's loss NaN and no other's.
TEST_P(CrossEntropyTest, PassesNanOn) {
  std::vector<double> logits = random_values(2 * 100, 1);
  logits[50] = std::nan("");
  Tensor losses_T = output({2}, acc());
  ops().cross_entropy(losses_T, {}, tensor(logits, {2, 100}, dtype()), ids({3, 3}, {2}), tensor({1, 1}, {2}, acc()),
                      stream());
  const auto losses = read(losses_T);
  EXPECT_TRUE(std::isnan(losses[0]));
  EXPECT_TRUE(std::isfinite(losses[1]));
}

// Promise: a target that counts and is no token is refused, naming it.
TEST_P(CrossEntropyTest, RefusesTargetsThatAreNoToken) {
  Tensor losses_T = output({1}, acc());
  const Tensor logits_TV = tensor(random_values(5, 1), {1, 5}, dtype());
  const auto run = [&](std::int32_t target) {
    ops().cross_entropy(losses_T, {}, logits_TV, ids({target}, {1}), tensor({1}, {1}, acc()), stream());
    stream().synchronize();
  };
  EXPECT_NO_THROW(run(4));
  EXPECT_THROW(run(5), Error);
  EXPECT_THROW(run(-1), Error);
}

// Promise: weighted sums add to what was there, in f64.
TEST_P(CrossEntropyTest, SumsWithWeights) {
  std::vector<double> a = random_values(1003, 1), b = random_values(1003, 2);
  const Tensor a_T = tensor(a, {1003}, acc()), b_T = tensor(b, {1003}, acc());
  Tensor out_1 = tensor({2.0}, {1}, DType::f64);
  double wanted = 2.0;
  for (std::size_t i = 0; i < a.size(); ++i) wanted += a[i] * b[i];
  ops().weighted_sum(out_1, a_T, b_T, stream());
  EXPECT_TRUE(near(read(out_1), {wanted}, {1e-12, 0}));
  for (const double value : a) wanted += value;
  ops().weighted_sum(out_1, a_T, {}, stream());
  EXPECT_TRUE(near(read(out_1), {wanted}, {1e-12, 0}));
}

INSTANTIATE_TEST_SUITE_P(Backends, CrossEntropyTest, testing::ValuesIn(device_cases()), device_case_name);

}  // namespace
}  // namespace athanor
