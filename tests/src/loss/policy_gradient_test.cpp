// The gradient of every policy objective through head and softmax against central differences in f64; and the ratios,
// clips and estimators on values worked out by hand.
#include <gtest/gtest.h>

#include <cmath>

#include "src/loss/token_cross_entropy.hpp"
#include "tests/src/nn/layer_bench.hpp"

namespace athanor {
namespace {

constexpr std::int64_t kTokens = 9, kDim = 5, kVocab = 7;

struct Bench {
  std::unique_ptr<Backend> ops = make_backend("cpu");
  std::unique_ptr<Stream> stream = ops->make_stream();
  LmHead head{"head.weight", DType::f64, kVocab, kDim, 0.5};
  ParameterStore store{*ops, head.parameters(), {}, *stream};
  std::vector<double> h, old, reference, advantages, weights;
  std::vector<std::int32_t> targets, ids;

  Bench() {
    store.initialize(3, *stream);
    const Philox random(1, RandomPurpose::test);
    for (std::uint64_t i = 0; i < kTokens * kDim; ++i) h.push_back(random.normal(i));
    for (std::uint64_t t = 0; t < kTokens; ++t) {
      targets.push_back(static_cast<std::int32_t>(random.word64(1000 + t) % kVocab));
      old.push_back(-1.9 + 0.4 * random.normal(2000 + t));
      reference.push_back(-2.0 + 0.2 * random.normal(3000 + t));
      advantages.push_back(t < 4 ? 1.3 : -0.7);
      weights.push_back(t == 2 || t == 7 ? 0.0 : 0.1 + 0.02 * static_cast<double>(t));
      ids.push_back(t < 4 ? 0 : 1);
    }
  }
  Tensor reals(const std::vector<double>& values, const Shape& shape) {
    return upload_vector<double>(*ops, values, shape, *stream);
  }
  /// Objective, and the gradient of h where asked for.
  double run(const PolicyGradientArgs& args, double temperature, std::vector<double>* dh) {
    MicroBatch batch;
    batch.temperature = temperature;
    batch.targets_T = upload_vector<std::int32_t>(*ops, targets, {kTokens}, *stream);
    batch.loss_weights_T = reals(weights, {kTokens});
    batch.policy = MicroBatch::PolicyRows{
        reals(old, {kTokens}), args.kl_beta != 0.0 ? reals(reference, {kTokens}) : Tensor{},
        reals(advantages, {kTokens}), upload_vector<std::int32_t>(*ops, ids, {kTokens}, *stream), args};
    ExecContext ctx{*ops, *stream, *stream, batch, DType::f64, true};
    TokenCrossEntropy loss(head);
    TokenCrossEntropy::Saved saved;
    const Tensor sums_8 = ops->empty({kNumPolicySums}, DType::f64);
    ops->fill(sums_8, 0.0, *stream);
    loss.forward_policy(ctx, reals(h, {kTokens, kDim}), sums_8, saved);
    std::vector<double> sums(kNumPolicySums);
    ops->download(std::as_writable_bytes(std::span(sums)), sums_8, *stream);
    if (dh) {
      dh->resize(h.size());
      ops->download(std::as_writable_bytes(std::span(*dh)), loss.backward_input(saved), *stream);
    }
    stream->synchronize();
    return sums[kPolicyLoss];
  }
};

class PolicyGradientTest : public ::testing::TestWithParam<PolicyGradientArgs> {};

TEST_P(PolicyGradientTest, Gradcheck) {
  for (const double temperature : {1.0, 0.6}) {
    Bench bench;
    std::vector<double> dh;
    bench.run(GetParam(), temperature, &dh);
    double largest = 0.0;
    for (const double value : dh) largest = std::max(largest, std::abs(value));
    EXPECT_GT(largest, 0.0);
    for (std::size_t i = 0; i < bench.h.size(); ++i) {
      const double kept = bench.h[i], step = 1e-5;
      bench.h[i] = kept + step;
      const double above = bench.run(GetParam(), temperature, nullptr);
      bench.h[i] = kept - step;
      const double below = bench.run(GetParam(), temperature, nullptr);
      bench.h[i] = kept;
      EXPECT_NEAR(dh[i], (above - below) / (2.0 * step), 1e-6 * std::max(1.0, largest)) << i;
    }
  }
}

// CISPO's objective is not what its gradient is the derivative of (the ratio is held constant), so it has its own test.
INSTANTIATE_TEST_SUITE_P(Objectives, PolicyGradientTest,
                         ::testing::Values(PolicyGradientArgs{PolicyObjective::clipped, 0.2, 0.2, 0.0, 0.0},
                                           PolicyGradientArgs{PolicyObjective::clipped, 0.2, 0.28, 0.0, 0.04},
                                           PolicyGradientArgs{PolicyObjective::clipped, 10.0, 10.0, 0.0, 0.001},
                                           PolicyGradientArgs{PolicyObjective::clipped, 0.2, 0.2, 1.1, 0.0},
                                           PolicyGradientArgs{PolicyObjective::gspo, 0.3, 0.4, 0.0, 0.0},
                                           PolicyGradientArgs{PolicyObjective::gspo, 0.3, 0.4, 0.0, 0.02}));

struct Weighed {
  std::vector<double> weights, sums;
};

Weighed weigh(const std::vector<double>& logprobs, const std::vector<double>& old, const std::vector<double>& reference,
              const std::vector<double>& advantages, const PolicyGradientArgs& args) {
  const auto ops = make_backend("cpu");
  const auto stream = ops->make_stream();
  const auto tokens = static_cast<std::int64_t>(logprobs.size());
  std::vector<double> losses, ones(logprobs.size(), 1.0);
  for (const double logprob : logprobs) losses.push_back(-logprob);
  const auto put = [&](const std::vector<double>& values) {
    return values.empty() ? Tensor{} : upload_vector<double>(*ops, values, {tokens}, *stream);
  };
  const std::vector<std::int32_t> ids(logprobs.size(), 0);
  const Tensor weights_T = ops->empty({tokens}, DType::f64), sums_8 = ops->empty({kNumPolicySums}, DType::f64);
  ops->fill(sums_8, 0.0, *stream);
  ops->policy_gradient(weights_T, sums_8, put(losses), put(old), put(reference), put(advantages), put(ones),
                       upload_vector<std::int32_t>(*ops, ids, {tokens}, *stream), args, *stream);
  Weighed result{std::vector<double>(logprobs.size()), std::vector<double>(kNumPolicySums)};
  ops->download(std::as_writable_bytes(std::span(result.weights)), weights_T, *stream);
  ops->download(std::as_writable_bytes(std::span(result.sums)), sums_8, *stream);
  stream->synchronize();
  return result;
}

// Golden: log-probabilities (-1, -2, -.5) against old (-1.1, -1.8, -.6): ratios 1.105171, .818731, 1.105171, whose
// sequence ratio is 1 (FACTS 4.3).
TEST(PolicyGradient, GoldenRatios) {
  const std::vector<double> logprobs = {-1.0, -2.0, -0.5}, old = {-1.1, -1.8, -0.6}, up(3, 1.0);
  const Weighed token = weigh(logprobs, old, {}, up, {PolicyObjective::clipped, 10.0, 10.0});
  EXPECT_NEAR(token.weights[0], 1.105171, 1e-6);
  EXPECT_NEAR(token.weights[1], 0.818731, 1e-6);
  EXPECT_NEAR(token.sums[kPolicyLoss], -(1.105171 + 0.818731 + 1.105171), 1e-5);
  const Weighed sequence = weigh(logprobs, old, {}, up, {PolicyObjective::gspo, 0.2, 0.2});
  for (const double weight : sequence.weights) EXPECT_NEAR(weight, 1.0, 1e-12);
  const Weighed clipped = weigh(logprobs, old, {}, up, {PolicyObjective::clipped, 0.05, 0.05});
  EXPECT_EQ(clipped.weights[0], 0.0);               // above 1.05 and good: no more of it
  EXPECT_NEAR(clipped.weights[1], 0.818731, 1e-6);  // below and good: the clip does not bind
  EXPECT_EQ(clipped.sums[kPolicyClipped], 2.0);
  const Weighed cispo = weigh(logprobs, old, {}, up, {PolicyObjective::cispo, 0.0, 1.05});
  EXPECT_NEAR(cispo.weights[0], 1.05, 1e-12);  // capped, not dropped
}

// Golden: k3 of .5, -.5 and .1 is .106531, .148721 and .00483742 (FACTS 4.2).
TEST(PolicyGradient, GoldenKl) {
  for (const auto& [delta, k3] : {std::pair{0.5, 0.106531}, {-0.5, 0.148721}, {0.1, 0.00483742}}) {
    const Weighed one = weigh({-1.0}, {-1.0}, {-1.0 - delta}, {0.0}, {PolicyObjective::clipped, 0.2, 0.2, 0.0, 1.0});
    EXPECT_NEAR(one.sums[kPolicyKl], k3, 1e-6);
    EXPECT_NEAR(one.weights[0], -(1.0 - std::exp(-delta)), 1e-12);
  }
}

}  // namespace
}  // namespace athanor
