#include "src/nn/moe.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "tests/src/nn/layer_bench.hpp"
#include "tests/support/dispatch_at_once.hpp"

namespace athanor {
namespace {

using testing::LayerBench;

constexpr std::int64_t kDim = 6, kInter = 5, kExperts = 8, kTopK = 3;

MoeConfig small_moe(std::int64_t num_shared, double alpha) {
  MoeConfig config;
  config.router.args = {
      .num_experts = kExperts, .top_k = kTopK, .num_groups = 4, .num_limited_groups = 2, .route_scale = 2.5};
  config.router.dim = config.dim = kDim;
  config.router.balance_loss_alpha = alpha;
  config.moe_inter_dim = kInter;
  config.num_shared_experts = num_shared;
  return config;
}

/// A mixture of experts on a bench, with its sums.
struct MoeBench {
  LayerBench bench{{.num_sequences = 2, .tokens_per_sequence = 6}};
  LocalDispatcher dispatcher{kExperts};
  Tensor balance_loss_1 = bench.ops().empty({1}, DType::f64);
  Tensor counts_E = bench.ops().empty({kExperts}, DType::i64);
  Moe moe;

  explicit MoeBench(std::int64_t num_shared = 2, double alpha = 0.0)
      : moe(bench.ops(), "moe", DType::f64, small_moe(num_shared, alpha), dispatcher, bench.stream()) {
    bench.ops().fill(counts_E, 0.0, bench.stream());
    bench.ops().fill(balance_loss_1, 0.0, bench.stream());
    moe.router().set_sums(balance_loss_1, counts_E);
  }
};

// Promises: the gradients through dispatch, experts, shared experts, combine and router are right.
TEST(MoeTest, Gradcheck) {
  MoeBench with_shared(2);
  EXPECT_TRUE(with_shared.bench.check_layer(with_shared.moe, {12, kDim}));
  MoeBench routed_only(0);
  EXPECT_TRUE(routed_only.bench.check_layer(routed_only.moe, {12, kDim}));
}

/// w_down( silu(w_gate x) * (w_up x) ) in plain loops.
std::vector<double> reference_swiglu(const std::vector<double>& gate, const std::vector<double>& up,
                                     const std::vector<double>& down, std::size_t matrix, std::size_t inter,
                                     const double* x) {
  const auto dim = static_cast<std::size_t>(kDim);
  std::vector<double> hidden(inter), y(dim, 0.0);
  for (std::size_t f = 0; f < inter; ++f) {
    double g = 0.0, u = 0.0;
    for (std::size_t d = 0; d < dim; ++d) {
      g += gate[(matrix * inter + f) * dim + d] * x[d];
      u += up[(matrix * inter + f) * dim + d] * x[d];
    }
    hidden[f] = g / (1.0 + std::exp(-g)) * u;
  }
  for (std::size_t d = 0; d < dim; ++d)
    for (std::size_t f = 0; f < inter; ++f) y[d] += down[(matrix * dim + d) * inter + f] * hidden[f];
  return y;
}

// Promises: the layer is the sum over chosen experts of weight times expert, plus the shared expert: plain loops agree.
TEST(MoeTest, EqualsPlainLoops) {
  MoeBench setup;
  LayerBench& bench = setup.bench;
  bench.give_parameters(setup.moe.parameters());
  std::map<std::string, std::vector<double>> weights;
  for (const Parameter* p : setup.moe.parameters()) weights[p->name()] = bench.values(p->weight);
  const Tensor x = bench.random({12, kDim}, 1);
  Moe::Saved saved;
  const std::vector<double> y = bench.values(setup.moe.forward(bench.evaluation(), x, saved));
  Router::Saved routed;
  const Routing routing = setup.moe.router().forward(bench.evaluation(), x, routed);
  const auto ids = testing::download_integers<std::int32_t>(bench.ops(), routing.expert_ids_TK, bench.stream());
  const std::vector<double> gates = bench.values(routing.weights_TK), rows = bench.values(x);

  std::vector<double> wanted;
  for (std::size_t t = 0; t < 12; ++t) {
    const double* x_t = rows.data() + t * kDim;
    std::vector<double> sum = reference_swiglu(weights["moe.shared.w_gate"], weights["moe.shared.w_up"],
                                               weights["moe.shared.w_down"], 0, 2 * kInter, x_t);
    for (std::size_t k = 0; k < kTopK; ++k) {
      const std::vector<double> part =
          reference_swiglu(weights["moe.experts.w_gate"], weights["moe.experts.w_up"], weights["moe.experts.w_down"],
                           static_cast<std::size_t>(ids[t * kTopK + k]), kInter, x_t);
      for (std::size_t d = 0; d < kDim; ++d) sum[d] += gates[t * kTopK + k] * part[d];
    }
    wanted.insert(wanted.end(), sum.begin(), sum.end());
  }
  EXPECT_LT(testing::relative_difference(y, wanted), 1e-13);
}

// Promises: the three phases of two micro-batches may alternate: results and gradients are those of one after the
// other.
TEST(MoeTest, PhasesOfTwoMicroBatchesInterleave) {
  MoeBench plain(2, 0.1), interleaved(2, 0.1);
  LayerBench& bench = plain.bench;
  plain.bench.give_parameters(plain.moe.parameters());
  interleaved.bench.give_parameters(interleaved.moe.parameters());
  Moe::Saved saved[2];
  std::vector<double> y[2], dx[2];
  for (std::uint64_t m = 0; m < 2; ++m) {
    y[m] = bench.values(plain.moe.forward(bench.training(), bench.random({12, kDim}, m), saved[m]));
    dx[m] = bench.values(plain.moe.backward_input(bench.training(), bench.random({12, kDim}, 8 + m), saved[m]));
    plain.moe.backward_weight(bench.training(), saved[m]);
  }
  LayerBench& other = interleaved.bench;
  Moe& moe = interleaved.moe;
  ExecContext& ctx = other.training();
  Moe::Saved s[2];
  for (std::uint64_t m = 0; m < 2; ++m) moe.dispatch(ctx, other.random({12, kDim}, m), s[m]);
  for (auto& one : s) moe.experts(ctx, one);
  for (std::size_t m = 0; m < 2; ++m) EXPECT_EQ(other.values(moe.combine(ctx, s[m])), y[m]);
  for (std::uint64_t m = 0; m < 2; ++m) moe.combine_backward(ctx, other.random({12, kDim}, 8 + m), s[m]);
  for (auto& one : s) moe.experts_backward(ctx, one);
  for (std::size_t m = 0; m < 2; ++m) EXPECT_EQ(other.values(moe.dispatch_backward(ctx, s[m])), dx[m]);
  for (auto& one : s) moe.backward_weight(ctx, one);
  for (std::size_t i = 0; i < moe.parameters().size(); ++i)
    EXPECT_EQ(other.values(moe.parameters()[i]->grad), bench.values(plain.moe.parameters()[i]->grad))
        << moe.parameters()[i]->name();
}

// Promise: weight gradients that are taken while rows return are those taken afterwards, bit for bit, once and not
// twice, also over two micro-batches.
TEST(MoeTest, WeightGradientsAtOnceAreTheSame) {
  MoeBench later(2, 0.1), at_once(2, 0.1);
  for (MoeBench* setup : {&later, &at_once}) {
    LayerBench& bench = setup->bench;
    bench.give_parameters(setup->moe.parameters());
    ExecContext ctx = bench.training();
    ctx.weights_at_once = setup == &at_once;
    Moe::Saved saved;
    for (std::uint64_t m = 0; m < 2; ++m) {
      setup->moe.forward(ctx, bench.random({12, kDim}, m), saved);
      setup->moe.backward_input(ctx, bench.random({12, kDim}, 8 + m), saved);
      EXPECT_EQ(saved.experts.x_RD.defined(), setup == &later);
      setup->moe.backward_weight(ctx, saved);
    }
  }
  for (std::size_t i = 0; i < later.moe.parameters().size(); ++i)
    EXPECT_EQ(at_once.bench.values(at_once.moe.parameters()[i]->grad),
              later.bench.values(later.moe.parameters()[i]->grad))
        << later.moe.parameters()[i]->name();
}

/// Three tokens, four experts, two each.
struct DispatchBench {
  LayerBench bench{{.num_sequences = 1, .tokens_per_sequence = 3}};
  LocalDispatcher dispatcher{4};
  Routing routing;
  DispatchHandle handle;
  explicit DispatchBench(const std::vector<double>& weights) {
    const std::vector<std::int32_t> ids{2, 0, 0, 3, 2, 3};
    routing.expert_ids_TK = upload_vector<std::int32_t>(bench.ops(), ids, {3, 2}, bench.stream());
    routing.weights_TK = testing::tensor_of(bench.ops(), weights, {3, 2}, DType::f64, bench.stream());
  }
};

// Promises: rows are grouped by expert, in order of tokens; with weights that sum to 1 dispatch then combine is the
// identity.
TEST(LocalDispatcherTest, DispatchThenCombineIsTheIdentity) {
  DispatchBench setup({.25, .75, .5, .5, 1, 0});
  LayerBench& bench = setup.bench;
  const Tensor x = testing::tensor_of(bench.ops(), {1, 2, 3, 4, 5, 6}, {3, 2}, DType::f64, bench.stream());
  const Tensor rows = testing::dispatch(setup.dispatcher, bench.training(), x, setup.routing, setup.handle);
  EXPECT_EQ(bench.values(rows), (std::vector<double>{1, 2, 3, 4, 1, 2, 5, 6, 3, 4, 5, 6}));
  EXPECT_EQ(testing::download_integers<std::int32_t>(bench.ops(), setup.handle.offsets_E1, bench.stream()),
            (std::vector<std::int32_t>{0, 2, 2, 4, 6}));
  const Tensor y = testing::combine(setup.dispatcher, bench.training(), rows, setup.routing, setup.handle);
  EXPECT_EQ(bench.values(y), bench.values(x));
}

// Promises: the backwards are the transposes: <dispatch x, r> = <x, dispatch_backward r>, <combine r, y> = <r,
// combine_backward y>, and the weights' gradient is the product of row and gradient.
TEST(LocalDispatcherTest, BackwardsAreTransposes) {
  DispatchBench setup({.3, -.7, 1.5, .2, .9, .4});
  LayerBench& bench = setup.bench;
  ExecContext& ctx = bench.training();
  const Tensor x = bench.random({3, 2}, 1), y = bench.random({3, 2}, 2), r = bench.random({6, 2}, 3);
  const Tensor rows = testing::dispatch(setup.dispatcher, ctx, x, setup.routing, setup.handle);
  const auto [dr, dweights] = testing::combine_backward(setup.dispatcher, ctx, y, r, setup.routing, setup.handle);
  const auto home = testing::dispatch_backward(setup.dispatcher, ctx, r, dweights, setup.handle);
  EXPECT_NEAR(bench.dot(rows, r), bench.dot(x, home.dx_TD), 1e-14);
  const double product = bench.dot(testing::combine(setup.dispatcher, ctx, r, setup.routing, setup.handle), y);
  EXPECT_NEAR(product, bench.dot(r, dr), 1e-14);
  EXPECT_NEAR(product, bench.dot(setup.routing.weights_TK, home.dweights_TK), 1e-14);
}

}  // namespace
}  // namespace athanor
