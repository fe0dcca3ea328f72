// Advantages of tokens: the golden values of the published estimators, and the laws of whitening and of the
// coefficient.
#include "parallel/rollout/token_advantage.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "src/base/error.hpp"

namespace athanor {
namespace {

// Promise: r (0,0,1), V (.5,.4,.6), gamma 1: lambda 1 gives (.5,.6,.4) and returns of 1; lambda .95 gives
// (.451,.58,.4) and (.951,.98,1).
TEST(TokenAdvantage, GoldenAdvantages) {
  const std::vector<double> rewards = {0, 0, 1}, values = {0.5, 0.4, 0.6};
  const auto whole = generalized_advantages(rewards, values, 1.0, 1.0);
  const auto shrunk = generalized_advantages(rewards, values, 1.0, 0.95);
  const std::vector<double> wanted = {0.5, 0.6, 0.4}, wanted_shrunk = {0.451, 0.58, 0.4},
                            wanted_returns = {0.951, 0.98, 1.0};
  for (std::size_t t = 0; t < 3; ++t) {
    EXPECT_NEAR(whole.advantages[t], wanted[t], 1e-12);
    EXPECT_NEAR(whole.returns[t], 1.0, 1e-12);
    EXPECT_NEAR(shrunk.advantages[t], wanted_shrunk[t], 1e-12);
    EXPECT_NEAR(shrunk.returns[t], wanted_returns[t], 1e-12);
  }
  // By hand: gamma .5, lambda 0: one-step errors.
  const auto one_step = generalized_advantages(rewards, values, 0.5, 0.0);
  EXPECT_NEAR(one_step.advantages[0], 0.5 * 0.4 - 0.5, 1e-15);
  EXPECT_THROW(generalized_advantages(rewards, std::vector<double>{1.0}, 1.0, 1.0), Error);
}

// Promise: every token pays beta times its log-ratio, the last one also gets the score.
TEST(TokenAdvantage, RewardsOfTokens) {
  const std::vector<double> logprobs = {-1.0, -2.0}, reference = {-1.5, -1.0};
  EXPECT_EQ(token_rewards(3.0, logprobs, reference, 0.1), (std::vector<double>{-0.05, 3.0 + 0.1}));
  EXPECT_EQ(token_rewards(3.0, logprobs, {}, 0.1), (std::vector<double>{0.0, 3.0}));
  EXPECT_THROW(token_rewards(1.0, {}, {}, 0.1), Error);
  EXPECT_THROW(token_rewards(1.0, logprobs, std::vector<double>{1.0}, 0.1), Error);
}

// Promise: mean 0 and unbiased variance 1 over all tokens whichever rank has them; with the mean put back it stays.
TEST(TokenAdvantage, Whitens) {
  std::vector<double> a = {1, 2, 3, 10}, b = {-4, 0};
  MaskedSums sums;
  sums.add(a);
  sums.add(b);
  EXPECT_DOUBLE_EQ(sums.mean(), 2.0);
  EXPECT_NEAR(sums.variance(), (1 + 0 + 1 + 64 + 36 + 4) / 5.0, 1e-12);
  whiten_tokens(a, sums);
  whiten_tokens(b, sums);
  MaskedSums after;
  after.add(a);
  after.add(b);
  EXPECT_NEAR(after.mean(), 0.0, 1e-12);
  EXPECT_NEAR(after.variance(), 1.0, 1e-8);
  std::vector<double> c = {2, 2 + std::sqrt(106.0 / 5)};
  whiten_tokens(c, sums, false);
  EXPECT_NEAR(c[0], 2.0, 1e-12);
  EXPECT_NEAR(c[1], 3.0, 1e-8);
  MaskedSums one;
  one.add(std::vector<double>{5.0});
  EXPECT_EQ(one.variance(), 0.0);
}

// Promise: the coefficient moves by at most a fifth of n / horizon, towards the target; 0 leaves it alone; its state is
// exact.
TEST(TokenAdvantage, HoldsATarget) {
  AdaptiveKl kl(0.1, 6.0, 1000.0);
  kl.update(60.0, 100);  // far above: e = .2
  EXPECT_NEAR(kl.beta(), 0.1 * 1.02, 1e-15);
  kl.update(5.7, 100);  // e = -.05
  EXPECT_NEAR(kl.beta(), 0.1 * 1.02 * 0.995, 1e-15);
  AdaptiveKl again(0.3, 6.0, 1000.0);
  again.restore(kl.state());
  EXPECT_EQ(again.beta(), kl.beta());
  AdaptiveKl fixed(0.1, 0.0);
  fixed.update(60.0, 100);
  EXPECT_EQ(fixed.beta(), 0.1);
  EXPECT_THROW(again.restore("much"), DataError);
  EXPECT_THROW(AdaptiveKl(-0.1, 6.0), ConfigError);
}

}  // namespace
}  // namespace athanor
