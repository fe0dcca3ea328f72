// The router, its gradient, balance loss and bias, against the reference and worked examples on every device.
#include "tests/support/device_fixture.hpp"
#include "tests/support/reference_ops.hpp"

namespace athanor {
namespace {

class RoutingTest : public DeviceTest {
 protected:
  struct Result {
    std::vector<double> scores, weights;
    std::vector<std::int32_t> ids;
  };
  Result route(std::vector<double>& logits, std::vector<double>& bias, const RouterArgs& args) {
    const std::int64_t tokens = static_cast<std::int64_t>(logits.size()) / args.num_experts;
    Tensor scores_TE = output({tokens, args.num_experts}, dtype()), weights_TK = output({tokens, args.top_k}, dtype());
    Tensor expert_ids_TK = output_ids({tokens, args.top_k});
    ops().router_forward(scores_TE, expert_ids_TK, weights_TK, tensor(logits, {tokens, args.num_experts}, dtype()),
                         tensor(bias, {args.num_experts}, dtype()), args, stream());
    return {read(scores_TE), read(weights_TK), read_ids(expert_ids_TK)};
  }
};

/// V3-like, V2-like, plain softmax top-k, sigmoid without normalisation.
std::vector<RouterArgs> router_variants() {
  RouterArgs v3{.num_experts = 64, .top_k = 8, .num_groups = 8, .num_limited_groups = 4, .route_scale = 2.5};
  RouterArgs v2 = v3;
  v2.score_function = ScoreFunction::softmax;
  v2.group_score_is_max = true;
  v2.normalize_weights = false;
  v2.route_scale = 16.0;
  RouterArgs plain{.score_function = ScoreFunction::softmax, .num_experts = 13, .top_k = 3};
  RouterArgs raw{.num_experts = 20, .top_k = 5, .num_groups = 5, .num_limited_groups = 3, .normalize_weights = false};
  return {v3, v2, plain, raw};
}

// Promise: scores, choice in order, and weights of every kind of router.
TEST_P(RoutingTest, ChoosesLikeTheReference) {
  for (const RouterArgs& args : router_variants()) {
    std::vector<double> logits = random_values(203 * args.num_experts, 1, -3.0, 3.0);
    std::vector<double> bias = random_values(args.num_experts, 2, -0.3, 0.1);  // negative ones: -inf masking matters
    const auto found = route(logits, bias, args);
    const auto wanted = reference::router_forward(logits, bias, args);
    EXPECT_EQ(found.ids, wanted.expert_ids_TK);
    EXPECT_TRUE(near(found.scores, wanted.scores_TE, acc_bound(8)));
    EXPECT_TRUE(near(found.weights, wanted.weights_TK, acc_bound(16 * args.route_scale)));
  }
}

// Promise: the worked example of the V3 gate: groups 1 and 3 stay, experts 2 and 3 are chosen, expert 4, whose score is
// the largest, loses through its bias.
TEST_P(RoutingTest, RoutesTheToyVector) {
  std::vector<double> logits{1, -1, .5, .4, 2, -3, 0, .2}, bias{0, 0, .3, 0, -.6, 0, 0, 0};
  const RouterArgs args{.num_experts = 8, .top_k = 2, .num_groups = 4, .num_limited_groups = 2, .route_scale = 2.5};
  const auto found = route(logits, bias, args);
  EXPECT_EQ(found.ids, (std::vector<std::int32_t>{2, 3}));
  EXPECT_TRUE(near(found.weights, {1.274333, 1.225667}, {1e-6, 0}));
}

// Promise: equal scores go to the lower expert and the lower group.
TEST_P(RoutingTest, BreaksTiesByTheLowerId) {
  std::vector<double> logits(16, 0.25), bias(16, 0.0);
  const RouterArgs args{.num_experts = 16, .top_k = 4, .num_groups = 4, .num_limited_groups = 2};
  EXPECT_EQ(route(logits, bias, args).ids, (std::vector<std::int32_t>{0, 1, 2, 3}));
}

// Promise: excluded experts count as -inf, not 0: with biases of -2 every selection score is negative, and the choice
// still comes from the kept group.
TEST_P(RoutingTest, MasksWithMinusInfinity) {
  std::vector<double> logits{0, 0, 1, 1}, bias(4, -2.0);
  const RouterArgs args{.num_experts = 4, .top_k = 2, .num_groups = 2, .num_limited_groups = 1};
  EXPECT_EQ(route(logits, bias, args).ids, (std::vector<std::int32_t>{2, 3}));
}

// Promise: the gradient through normalisation and score function, with and without the balance loss' part.
TEST_P(RoutingTest, DifferentiatesLikeTheReference) {
  for (const RouterArgs& args : router_variants()) {
    const std::int64_t tokens = 57;
    std::vector<double> logits = random_values(tokens * args.num_experts, 1, -3.0, 3.0);
    std::vector<double> bias(static_cast<std::size_t>(args.num_experts));
    auto routed = reference::router_forward(logits, bias, args);
    std::vector<double> dweights = random_values(tokens * args.top_k, 3);
    std::vector<double> dscores = random_values(tokens * args.num_experts, 4);
    const Tensor scores_TE = tensor(routed.scores_TE, {tokens, args.num_experts}, dtype());
    const Tensor ids_TK = ids(routed.expert_ids_TK, {tokens, args.top_k});
    const Tensor dweights_TK = tensor(dweights, {tokens, args.top_k}, dtype());
    const Tensor dscores_TE = tensor(dscores, {tokens, args.num_experts}, dtype());
    Tensor dlogits_TE = output({tokens, args.num_experts}, dtype());

    ops().router_backward(dlogits_TE, dweights_TK, dscores_TE, scores_TE, ids_TK, args, stream());
    EXPECT_TRUE(near(read(dlogits_TE),
                     reference::router_backward(dweights, dscores, routed.scores_TE, routed.expert_ids_TK, args),
                     acc_bound(32 * args.route_scale)));
    ops().router_backward(dlogits_TE, dweights_TK, {}, scores_TE, ids_TK, args, stream());
    EXPECT_TRUE(near(read(dlogits_TE),
                     reference::router_backward(dweights, {}, routed.scores_TE, routed.expert_ids_TK, args),
                     acc_bound(32 * args.route_scale)));
  }
}

// Promise: the worked example of the balance loss costs 1.225 alpha, added to what was there.
TEST_P(RoutingTest, BalancesTheToy) {
  Tensor loss_1 = tensor({1.0}, {1}, dtype()), dscores_TE = output({2, 4}, dtype());
  const Tensor scores_TE = tensor({.9, .8, .1, .2, .7, .2, .6, .5}, {2, 4}, dtype());
  ops().sequence_balance_loss(loss_1, dscores_TE, scores_TE, 2, 2, 0.5, 1.0, stream());
  EXPECT_TRUE(near(read(loss_1), {1.0 + 0.5 * 1.225}, acc_bound(8)));
}

// Promise: loss and gradient over several sequences.
TEST_P(RoutingTest, BalancesLikeTheReference) {
  const std::int64_t sequences = 3, length = 21, experts = 19, top_k = 4;
  const Shape shape{sequences * length, experts};
  std::vector<double> scores = random_values(shape.numel(), 1, 0.01, 1.0);
  const Tensor scores_TE = tensor(scores, shape, dtype());
  Tensor loss_1 = tensor({0.0}, {1}, dtype()), dscores_TE = output(shape, dtype());
  ops().sequence_balance_loss(loss_1, dscores_TE, scores_TE, top_k, length, 0.7, 3.0, stream());
  const auto wanted = reference::sequence_balance_loss(scores, experts, top_k, length, 0.7, 3.0);
  EXPECT_TRUE(near(read(loss_1), {wanted.loss}, acc_bound(32)));
  EXPECT_TRUE(near(read(dscores_TE), wanted.dscores_TE, acc_bound(16)));
  EXPECT_THROW(ops().sequence_balance_loss(loss_1, dscores_TE, scores_TE, top_k, 20, 0.7, 3.0, stream()), Error);
}

// Promise: counts add up over calls; the bias of a busy expert falls, of an idle one rises, of an average one stays.
TEST_P(RoutingTest, CountsAndUpdatesTheBias) {
  Tensor counts_E = counts({10, 0, 0, 0});
  ops().count_experts(counts_E, ids({1, 2, 1, 3, 2, 1}, {3, 2}), stream());
  EXPECT_EQ(read(counts_E), (std::vector<double>{10, 3, 2, 1}));
  std::vector<double> bias{.5, .5, .5, .5};
  Tensor bias_E = tensor(bias, {4}, dtype());
  ops().router_bias_update(bias_E, counts({10, 4, 2, 0}), 0.25, stream());  // mean 4
  EXPECT_EQ(read(bias_E), (std::vector<double>{.25, .5, .75, .75}));
}

// Promise: more experts than the kept groups hold is refused at the call.
TEST_P(RoutingTest, RefusesTooManyExperts) {
  std::vector<double> logits(8), bias(8);
  EXPECT_THROW(route(logits, bias, {.num_experts = 8, .top_k = 5, .num_groups = 4, .num_limited_groups = 2}), Error);
  EXPECT_THROW(route(logits, bias, {.num_experts = 8, .top_k = 2, .num_groups = 3, .num_limited_groups = 2}), Error);
}

INSTANTIATE_TEST_SUITE_P(Backends, RoutingTest, testing::ValuesIn(device_cases({DType::f64, DType::f32})),
                         device_case_name);

}  // namespace
}  // namespace athanor
