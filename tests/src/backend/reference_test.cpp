// The reference itself, by hand-worked cases: numbers that can be followed on paper.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/near.hpp"
#include "tests/support/reference_ops.hpp"

namespace athanor::reference {
namespace {

constexpr Bound kExact{1e-15, 1e-15};

// Promise: products with every transposition agree with [[1,2],[3,4]] [[5,6],[7,8]] worked by hand.
TEST(Reference, MultipliesMatrices) {
  const Values a{1, 2, 3, 4}, b{5, 6, 7, 8};
  EXPECT_EQ(gemm(a, Transpose::no, b, Transpose::no, 2, 2, 2), (Values{19, 22, 43, 50}));
  EXPECT_EQ(gemm(a, Transpose::no, b, Transpose::yes, 2, 2, 2), (Values{17, 23, 39, 53}));
  EXPECT_EQ(gemm(a, Transpose::yes, b, Transpose::no, 2, 2, 2), (Values{26, 30, 38, 44}));
}

// Promise: experts multiply their own rows only, in all three products.
TEST(Reference, MultipliesByGroup) {
  const Ids offsets{0, 1, 1, 3};
  const Values x{1, 2, 3}, w{10, 20, 30};  // one column in, one out, three experts
  EXPECT_EQ(grouped_gemm(x, w, offsets, 1, 1), (Values{10, 60, 90}));
  EXPECT_EQ(grouped_gemm_backward_input({1, 1, 2}, w, offsets, 1, 1), (Values{10, 30, 60}));
  EXPECT_EQ(grouped_gemm_backward_weight({1, 1, 2}, x, offsets, 1, 1), (Values{1, 0, 8}));
}

// Promise: a head's slice of the weight starts at h*stride + first; transposed, the slice itself multiplies.
TEST(Reference, MultipliesByHead) {
  const Values w{1, 2, 3, 4, 5, 6, 7, 8};  // 2 heads, stride 2, 2 columns
  EXPECT_EQ(per_head_gemm({1, 1, 1, 1}, w, 2, 2, 1, 1, 2, Transpose::no), (Values{7, 15}));
  EXPECT_EQ(per_head_gemm({2, 3}, w, 2, 2, 1, 1, 2, Transpose::yes), (Values{6, 8, 21, 24}));
}

// Promise: silu(0) = 0 with slope 1/2; silu(ln 3) = 3/4 ln 3.
TEST(Reference, ComputesSwiglu) {
  const double ln3 = std::log(3.0);
  EXPECT_TRUE(near(swiglu_forward({0, ln3}, {5, 2}), {0, 1.5 * ln3}, kExact));
  const auto gradient = swiglu_backward({2, 1}, {0, ln3}, {5, 2});
  EXPECT_TRUE(near(gradient.dgate, {5, 2 * (0.75 + ln3 * 3.0 / 16.0)}, kExact));
  EXPECT_TRUE(near(gradient.dup, {0, 0.75 * ln3}, kExact));
}

// Promise: (3, 4) has root mean square 5/sqrt(2); the gradient is orthogonal to x when w is 1 and eps 0.
TEST(Reference, Normalises) {
  const auto out = rms_norm_forward({3, 4}, {1, 2}, 0.0);
  const double r = std::sqrt(2.0) / 5.0;
  EXPECT_TRUE(near(out.rstd_T, {r}, kExact));
  EXPECT_TRUE(near(out.y, {3 * r, 8 * r}, kExact));
  const auto dx = rms_norm_backward_input({1, 0}, {3, 4}, {1, 1}, 0.0);
  EXPECT_TRUE(near(dx, {r * (1 - 9.0 / 25.0), r * (-12.0 / 25.0)}, kExact));
  EXPECT_TRUE(near(rms_norm_backward_weight({1, 10}, {3, 4}, 2, 0.0), {3 * r, 40 * r}, kExact));
}

// Promise: a quarter turn maps (a, b) to (-b, a); pairs are neighbours or halves, and entries before the offset stay.
TEST(Reference, Rotates) {
  RopeArgs args{.layout = RopeLayout::interleaved, .num_heads = 1, .head_dim = 5, .offset = 1, .rope_dim = 4};
  const Values cos{1, 1, 0, 0}, sin{0, 0, 1, 1};  // position 1 is a quarter turn
  EXPECT_EQ(rope({9, 1, 2, 3, 4}, {1}, cos, sin, args), (Values{9, -2, 1, -4, 3}));
  EXPECT_EQ(rope({9, 1, 2, 3, 4}, {0}, cos, sin, args), (Values{9, 1, 2, 3, 4}));
  args.layout = RopeLayout::half;
  EXPECT_EQ(rope({9, 1, 2, 3, 4}, {1}, cos, sin, args), (Values{9, -3, -4, 1, 2}));
  args.inverse = true;
  EXPECT_EQ(rope({9, -3, -4, 1, 2}, {1}, cos, sin, args), (Values{9, 1, 2, 3, 4}));
}

// Promise: equal scores average the visible values; a document's first token sees itself alone.
TEST(Reference, Attends) {
  const AttentionArgs args{.num_heads = 1, .num_kv_heads = 1, .qk_dim = 1, .v_dim = 1, .scale = 1.0};
  const Values zero{0, 0, 0}, v{3, 6, 8};
  const auto out = attention_forward(zero, zero, v, {0, 0, 2}, args);
  EXPECT_TRUE(near(out.o, {3, 4.5, 8}, kExact));
  EXPECT_TRUE(near(out.lse_TH, {0, std::log(2.0), 0}, kExact));
  const auto gradient = attention_backward({0, 1, 0}, {0, 2, 0}, zero, v, {0, 0, 2}, args);
  EXPECT_TRUE(near(gradient.dv, {0.5, 0.5, 0}, kExact));
  EXPECT_TRUE(near(gradient.dk, {-1.5, 1.5, 0}, kExact));  // p (dp - mean) q = 1/2 (3 - 4.5) 2
  EXPECT_TRUE(near(gradient.dq, {0, 0, 0}, kExact));
  // Slot 1 has pages 2 and 0 of two rows each.
  const Values k_cache{0, 9, 9, 9, 0, 0}, v_cache{3, 9, 9, 9, 2, 1};
  EXPECT_TRUE(near(attention_cached({0}, k_cache, v_cache, {1, 1, 2, 0}, 2, {1}, {3}, 2, args), {2}, kExact));
  EXPECT_EQ(cache_rows({1, 1, 2, 0}, 2, {1, 1, 0}, {1, 2, 0}, {2, 3, 0}, 2), (Ids{5, 0, -1}));
}

// Promise: the worked example of the V3 gate: expert 4 has the largest score but loses through its bias.
TEST(Reference, RoutesTheToyVector) {
  const RouterArgs args{.num_experts = 8, .top_k = 2, .num_groups = 4, .num_limited_groups = 2, .route_scale = 2.5};
  const Values logits{1, -1, .5, .4, 2, -3, 0, .2}, bias{0, 0, .3, 0, -.6, 0, 0, 0};
  const auto out = router_forward(logits, bias, args);
  EXPECT_TRUE(near(out.scores_TE, {.731059, .268941, .622459, .598688, .880797, .047426, .5, .549834}, {5e-7, 0}));
  EXPECT_EQ(out.expert_ids_TK, (Ids{2, 3}));
  EXPECT_TRUE(near(out.weights_TK, {1.274333, 1.225667}, {5e-7, 0}));
}

// Promise: the worked example of the balance loss: f = (2,1,1,0), P = (.4,.25,.175,.175), sum 1.225; perfect balance
// costs alpha.
TEST(Reference, BalancesTheToy) {
  const auto toy = sequence_balance_loss({.9, .8, .1, .2, .7, .2, .6, .5}, 4, 2, 2, 1.0, 1.0);
  EXPECT_NEAR(toy.loss, 1.225, 1e-12);
  EXPECT_NEAR(sequence_balance_loss({1, 0, 0, 1}, 2, 1, 2, 0.5, 1.0).loss, 0.5, 1e-12);
}

// Promise: the sort is stable, permuting and unpermuting with weights that sum to 1 is the identity.
TEST(Reference, SortsAndPermutes) {
  const auto sorted = sort_by_expert({2, 0, 0, 2}, 3);
  EXPECT_EQ(sorted.offsets_E1, (Ids{0, 2, 2, 4}));
  EXPECT_EQ(sorted.pair_of_R, (Ids{1, 2, 0, 3}));
  EXPECT_EQ(sorted.row_of_TK, (Ids{2, 0, 1, 3}));
  const Values rows = permute_rows({5, 7}, sorted.pair_of_R, 2, 1);
  EXPECT_EQ(rows, (Values{5, 7, 5, 7}));
  EXPECT_EQ(unpermute_rows(rows, sorted.row_of_TK, {.25, .75, .5, .5}, 2, 1), (Values{5, 7}));
  const auto partly = sort_by_expert({2, -1, 0, 2}, 3);
  EXPECT_EQ(partly.pair_of_R, (Ids{2, 0, 3}));
  EXPECT_EQ(partly.row_of_TK, (Ids{1, -1, 0, 2}));
  EXPECT_EQ(unpermute_rows({7, 5, 7}, partly.row_of_TK, {.25, .75, .5, .5}, 2, 1), (Values{1.25, 7}));
}

// Promise: two equal logits cost ln 2; the gradient is p - 1 at the target; a token of weight 0 costs nothing.
TEST(Reference, ComputesCrossEntropy) {
  const auto out = cross_entropy({3, 3, 1, 2}, {1, -1}, {2, 0}, 2);
  EXPECT_TRUE(near(out.losses_T, {std::log(2.0), 0}, kExact));
  EXPECT_TRUE(near(out.dlogits_TV, {1, -1, 0, 0}, kExact));
}

// Promise: a student of (1/2, 1/2) beside a teacher of (3/4, 1/4), both divergences and slopes by hand; a token of
// weight 0 costs nothing.
TEST(Reference, ComputesDistillation) {
  const Values student{2, 2, 0, 9}, teacher{std::log(3.0), 0, 9, 0};
  const auto forward = distillation(student, teacher, {2, 0}, 2, false);
  EXPECT_TRUE(near(forward.losses_T, {.75 * std::log(1.5) + .25 * std::log(.5), 0}, kExact));
  EXPECT_TRUE(near(forward.dlogits_TV, {-.5, .5, 0, 0}, kExact));
  const auto reverse = distillation(student, teacher, {2, 0}, 2, true);
  EXPECT_TRUE(near(reverse.losses_T, {.5 * std::log(4.0 / 3.0), 0}, kExact));
  EXPECT_TRUE(near(reverse.dlogits_TV, {-.5 * std::log(3.0), .5 * std::log(3.0), 0, 0}, kExact));
}

// Promise: two equal scores cost ln 2 and pull at each other with a half; a score of 0 costs ln 2 whatever its label;
// of value and clipped value the worse counts, and the clipped one has no slope.
TEST(Reference, ComputesScalarLosses) {
  const auto pair = pairwise_preference({3, 3}, {0, 1}, {}, {2}, 0.0);
  EXPECT_NEAR(pair.loss, 2 * std::log(2.0), 1e-15);
  EXPECT_TRUE(near(pair.gradient, {-1, 1}, kExact));
  const auto centred = pairwise_preference({3, 1}, {0, 1}, {2}, {1}, 0.5);
  EXPECT_NEAR(centred.loss, std::log(2.0) + 8, 1e-14);
  EXPECT_TRUE(near(centred.gradient, {3.5, 4.5}, kExact));
  const auto label = pointwise_preference({0, 0}, {1, 0}, {1, 3});
  EXPECT_NEAR(label.loss, 4 * std::log(2.0), 1e-15);
  EXPECT_TRUE(near(label.gradient, {-.5, 1.5}, kExact));
  const auto value = value_regression({2, 2, 2}, {2, 1, 1}, {1, 1, 3}, {1, 1, 1}, 0.25);
  EXPECT_NEAR(value.loss, 0.5 * (1 + 1 + 1.75 * 1.75), 1e-15);
  EXPECT_TRUE(near(value.gradient, {1, 1, 0}, kExact));
}

// Promise: the first AdamW step moves by lr * sign(g) (eps aside) after decay by lr * wd.
TEST(Reference, TakesAnAdamWStep) {
  const AdamWArgs args{.lr = 0.1, .beta1 = 0.9, .beta2 = 0.95, .eps = 0.0, .weight_decay = 0.5, .step = 1};
  const auto out = adamw({{2.0}, {0.0}, {0.0}}, {-3.0}, 2.0, args);
  EXPECT_NEAR(out.m[0], -0.6, 1e-15);
  EXPECT_NEAR(out.v[0], 1.8, 1e-14);
  EXPECT_NEAR(out.master[0], 2.0 * 0.95 + 0.1, 1e-15);
}

// Promise: truncations in the order top_k, top_p, min_p, renormalised at the end.
TEST(Reference, TruncatesProbabilities) {
  const Values logits{std::log(.1), std::log(.4), std::log(.3), std::log(.2)};
  EXPECT_TRUE(near(truncated_probabilities(logits, {.top_k = 2}), {0, 4. / 7, 3. / 7, 0}, kExact));
  EXPECT_TRUE(near(truncated_probabilities(logits, {.top_p = .5, .top_k = 3}), {0, 4. / 7, 3. / 7, 0}, kExact));
  EXPECT_TRUE(near(truncated_probabilities(logits, {.min_p = .6}), {0, 4. / 7, 3. / 7, 0}, kExact));
}

}  // namespace
}  // namespace athanor::reference
