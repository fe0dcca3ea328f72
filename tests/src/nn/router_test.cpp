#include "src/nn/router.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/src/nn/layer_bench.hpp"

namespace athanor {
namespace {

using testing::LayerBench;

double logit(double p) { return std::log(p / (1.0 - p)); }

/// A router whose weight is the identity, so that its input is its logits.
class LogitRouter {
 public:
  LogitRouter(LayerBench& bench, const RouterArgs& args, double alpha = 0.0)
      : bench_(bench),
        router_(bench.ops(), "router", DType::f64, {.args = args, .dim = args.num_experts, .balance_loss_alpha = alpha},
                bench.stream()),
        balance_loss_1_(bench.ops().empty({1}, DType::f64)),
        counts_E_(bench.ops().empty({args.num_experts}, DType::i64)) {
    bench.give_parameters(router_.parameters());
    const auto experts = static_cast<std::size_t>(args.num_experts);
    std::vector<double> identity(experts * experts, 0.0);
    for (std::size_t e = 0; e < experts; ++e) identity[e * experts + e] = 1.0;
    testing::upload_doubles(bench.ops(), router_.parameters()[0]->weight, identity, bench.stream());
    bench.ops().fill(balance_loss_1_, 0.0, bench.stream());
    bench.ops().fill(counts_E_, 0.0, bench.stream());
    router_.set_sums(balance_loss_1_, counts_E_);
  }
  Router& router() { return router_; }
  void set_bias(const std::vector<double>& bias) {
    testing::upload_doubles(bench_.ops(), router_.bias().tensor, bias, bench_.stream());
  }
  void run(ExecContext& ctx, const std::vector<double>& logits) {
    const auto experts = counts_E_.dim(0);
    const Tensor x =
        testing::tensor_of(bench_.ops(), logits, {static_cast<std::int64_t>(logits.size()) / experts, experts},
                           DType::f64, bench_.stream());
    const Routing routing = router_.forward(ctx, x, saved);
    ids = testing::download_integers<std::int32_t>(bench_.ops(), routing.expert_ids_TK, bench_.stream());
    weights = bench_.values(routing.weights_TK);
  }
  double balance_loss() { return bench_.values(balance_loss_1_)[0]; }
  std::vector<std::int64_t> counts() {
    return testing::download_integers<std::int64_t>(bench_.ops(), counts_E_, bench_.stream());
  }

  Router::Saved saved;
  std::vector<std::int32_t> ids;
  std::vector<double> weights;

 private:
  LayerBench& bench_;
  Router router_;
  Tensor balance_loss_1_, counts_E_;
};

// Promises: V3's gate on the worked example: groups by the sum of biased scores, choice by biased, weights by unbiased
// scores. Expert 4 has the largest score and loses through its bias.
TEST(RouterTest, SigmoidGateGolden) {
  LayerBench bench;
  LogitRouter gate(bench, {.num_experts = 8, .top_k = 2, .num_groups = 4, .num_limited_groups = 2, .route_scale = 2.5});
  gate.set_bias({0, 0, .3, 0, -.6, 0, 0, 0});
  gate.run(bench.evaluation(), {1, -1, .5, .4, 2, -3, 0, .2});
  EXPECT_EQ(gate.ids, (std::vector<std::int32_t>{2, 3}));
  EXPECT_NEAR(gate.weights[0], 1.274333, 5e-7);
  EXPECT_NEAR(gate.weights[1], 1.225667, 5e-7);
}

// Promises: an excluded group never wins, not even when every allowed selection score is negative (the trap of filling
// with 0 instead of -inf).
TEST(RouterTest, ExcludedGroupsCountAsMinusInfinity) {
  LayerBench bench;
  LogitRouter gate(bench, {.num_experts = 4, .top_k = 2, .num_groups = 2, .num_limited_groups = 1});
  gate.set_bias({-2, -2, -1.5, -1.5});
  gate.run(bench.evaluation(), {0, 0, 0, 0});
  EXPECT_EQ(gate.ids, (std::vector<std::int32_t>{2, 3}));
}

// Promises: V2's gate: softmax scores, a group counts by its best expert, weights are not normalised but scaled.
TEST(RouterTest, SoftmaxGateByHand) {
  LayerBench bench;
  LogitRouter gate(bench, {.score_function = ScoreFunction::softmax,
                           .num_experts = 4,
                           .top_k = 2,
                           .num_groups = 2,
                           .num_limited_groups = 1,
                           .normalize_weights = false,
                           .route_scale = 16.0,
                           .group_score_is_max = true});
  // p = .4 .1 .3 .2: the first group has the best expert, the second the larger sum.
  gate.run(bench.evaluation(), {std::log(.4), std::log(.1), std::log(.3), std::log(.2)});
  EXPECT_EQ(gate.ids, (std::vector<std::int32_t>{0, 1}));
  EXPECT_NEAR(gate.weights[0], 6.4, 1e-12);
  EXPECT_NEAR(gate.weights[1], 1.6, 1e-12);
}

// Promises: the sequence-wise balance loss of the worked example: f = (2,1,1,0), P = (.4,.25,.175,.175), sum 1.225; a
// micro-batch weighs as much as its share of the global batch.
TEST(RouterTest, BalanceLossGolden) {
  LayerBench bench({.num_sequences = 1, .tokens_per_sequence = 2});
  const std::vector<double> scores{.9, .8, .1, .2, .7, .2, .6, .5};
  std::vector<double> logits(8);
  std::transform(scores.begin(), scores.end(), logits.begin(), logit);
  LogitRouter gate(bench, {.num_experts = 4, .top_k = 2}, 1.0);
  gate.run(bench.training(), logits);
  EXPECT_NEAR(gate.balance_loss(), 1.225, 1e-12);
  bench.batch().balance_weight = 0.25;
  gate.run(bench.training(), logits);
  EXPECT_NEAR(gate.balance_loss(), 1.225 * 1.25, 1e-12);
}

// Promises: experts are counted once in a training forward and never in evaluation or backward.
TEST(RouterTest, CountsInTrainingOnly) {
  LayerBench bench({.num_sequences = 1, .tokens_per_sequence = 2});
  LogitRouter gate(bench, {.num_experts = 3, .top_k = 2});
  const std::vector<double> logits{3, 2, 1, 1, 3, 2};
  gate.run(bench.evaluation(), logits);
  EXPECT_EQ(gate.counts(), (std::vector<std::int64_t>{0, 0, 0}));
  gate.run(bench.training(), logits);
  gate.router().backward_input_into(bench.training(), bench.random({2, 2}, 1), bench.random({2, 3}, 2), gate.saved);
  gate.router().backward_weight(bench.training(), gate.saved);
  EXPECT_EQ(gate.counts(), (std::vector<std::int64_t>{1, 2, 1}));
}

struct GateCase {
  const char* name;
  RouterArgs args;
};

class RouterGradient : public ::testing::TestWithParam<GateCase> {};

// Promises: gradients through the routing weights and the balance loss are right, for input and weight; the input's
// gradient is added to what is there.
TEST_P(RouterGradient, Gradcheck) {
  LayerBench bench({.num_sequences = 2, .tokens_per_sequence = 5});
  Router router(bench.ops(), "router", DType::f64, {.args = GetParam().args, .dim = 7, .balance_loss_alpha = 0.3},
                bench.stream());
  const Tensor balance_loss_1 = bench.ops().empty({1}, DType::f64);
  const Tensor counts_E = bench.ops().empty({8}, DType::i64);
  bench.ops().fill(counts_E, 0.0, bench.stream());
  router.set_sums(balance_loss_1, counts_E);
  bench.give_parameters(router.parameters());
  testing::upload_doubles(bench.ops(), router.bias().tensor, testing::random_values(8, 5, 0.1), bench.stream());
  const Tensor x = bench.random({10, 7}, 1), dweights = bench.random({10, GetParam().args.top_k}, 2);

  Router::Saved saved;
  router.forward(bench.training(), x, saved);
  const Tensor dx = bench.ops().empty(x.shape(), DType::f64);
  bench.ops().fill(dx, 1.0, bench.stream());
  router.backward_input_into(bench.training(), dweights, dx, saved);
  router.backward_weight(bench.training(), saved);
  std::vector<testing::CheckedTensor> list = bench.checked(router.parameters());
  std::vector<double> dx_values = bench.values(dx);
  for (double& value : dx_values) value -= 1.0;
  list.push_back({"input", x, dx_values});

  const auto loss = [&] {
    bench.ops().fill(balance_loss_1, 0.0, bench.stream());
    Router::Saved again;
    const Routing routing = router.forward(bench.training(), x, again);
    return bench.dot(routing.weights_TK, dweights) + bench.values(balance_loss_1)[0];
  };
  EXPECT_TRUE(testing::gradcheck(bench.ops(), bench.stream(), loss, list));
}

INSTANTIATE_TEST_SUITE_P(
    Gates, RouterGradient,
    ::testing::Values(
        GateCase{"v3", {.num_experts = 8, .top_k = 3, .num_groups = 4, .num_limited_groups = 2, .route_scale = 2.5}},
        GateCase{"v3_one_group", {.num_experts = 8, .top_k = 2}},
        GateCase{"v2",
                 {.score_function = ScoreFunction::softmax,
                  .num_experts = 8,
                  .top_k = 3,
                  .num_groups = 4,
                  .num_limited_groups = 2,
                  .normalize_weights = false,
                  .route_scale = 1.5,
                  .group_score_is_max = true}}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace athanor
