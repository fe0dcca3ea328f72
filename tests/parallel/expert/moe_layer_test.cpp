// A whole mixture-of-experts layer over ranks against the same layer on one rank with everyone's tokens.
#include <gtest/gtest.h>

#include <tuple>

#include "parallel/data/zero_optimizer.hpp"
#include "src/base/error.hpp"
#include "tests/parallel/expert/expert_bench.hpp"

namespace athanor {
namespace {

using testing::difference;
using testing::kDim;
using testing::kExperts;
using testing::MoeBench;
using testing::RankBench;
using testing::rows_of;

/// The layer whole, on the tokens of all ranks.
struct Whole {
  LocalDispatcher dispatcher{kExperts};
  MoeBench layer;
  std::vector<double> y, dx;

  Whole(RankBench& bench, bool training) : layer(bench, dispatcher) {
    const Shape shape{bench.all_tokens(), kDim};
    const Tensor x = bench.tensor(bench.random_rows(0, shape[0], kDim, 1), shape);
    const Tensor dy = bench.tensor(bench.random_rows(0, shape[0], kDim, 2), shape);
    y = bench.values(layer.moe.forward(training ? bench.training : bench.evaluation, x, layer.saved));
    if (!training) return;
    dx = bench.values(layer.moe.backward_input(bench.training, dy, layer.saved));
    layer.moe.backward_weight(bench.training, layer.saved);
  }
};

class MoeOverRanks : public ::testing::TestWithParam<std::tuple<const char*, DType, int>> {
 protected:
  RankBench bench_{std::get<0>(GetParam()), std::get<1>(GetParam())};
  const int ranks_per_node_ = std::get<2>(GetParam());
  // Sums in another order: some units of f64 and f32; bf16 rounds partial sums to 8 bits.
  const double bound_ = bench_.dtype == DType::f64 ? 1e-12 : bench_.dtype == DType::f32 ? 1e-5 : 3e-2;

  Tensor own(std::uint64_t stream) {
    return bench_.tensor(bench_.random_rows(bench_.first_token(), bench_.tokens(), kDim, stream),
                         {bench_.tokens(), kDim});
  }
  std::vector<double> own_rows(const std::vector<double>& all) const {
    return rows_of(all, bench_.first_token(), bench_.tokens(), kDim);
  }
};

// Promises: output, gradient of the input and gradients of experts, router and shared expert are those of one rank; a
// token crosses nodes at most as often as the router's limit says.
TEST_P(MoeOverRanks, EqualsOneRank) {
  AllToAllDispatcher dispatcher(bench_.comm, bench_.nodes(ranks_per_node_), bench_.contiguous(), *bench_.ops,
                                *bench_.travel);
  MoeBench layer(bench_, dispatcher);
  Whole whole(bench_, true);

  const auto y = bench_.values(layer.moe.forward(bench_.training, own(1), layer.saved));
  const Traffic traffic = dispatcher.traffic();
  const auto dx = bench_.values(layer.moe.backward_input(bench_.training, own(2), layer.saved));
  layer.moe.backward_weight(bench_.training, layer.saved);

  EXPECT_LE(difference(y, own_rows(whole.y), whole.y), bound_);
  EXPECT_LE(difference(dx, own_rows(whole.dx), whole.dx), bound_);
  for (std::size_t i = 0; i < layer.moe.parameters().size(); ++i) {
    const Parameter& mine = *layer.moe.parameters()[i];
    const auto wanted = bench_.values(whole.layer.moe.parameters()[i]->grad);
    if (mine.group == GradientGroup::expert) {
      EXPECT_EQ(mine.spec.offset[0], kExperts / bench_.size() * bench_.rank());
      const auto part = rows_of(wanted, mine.spec.offset[0], mine.spec.extent[0], mine.weight.shape().row_numel());
      EXPECT_LE(difference(bench_.values(mine.grad), part, wanted), bound_) << mine.name();
    } else {
      EXPECT_LE(difference(bench_.summed(mine.grad), wanted, wanted), bound_) << mine.name();
    }
  }
  if (ranks_per_node_ > 0) {
    const RouterArgs router = testing::toy_moe().router.args;
    EXPECT_NO_THROW(check_groups_fit_nodes(router, dispatcher.placement(), dispatcher.nodes()));
    if (dispatcher.nodes().has_two_levels()) {
      EXPECT_LE(traffic.rows_across_nodes, router.num_limited_groups * bench_.tokens());
    }
  }
}

// Promises: the same call gives the same bits again.
TEST_P(MoeOverRanks, RepeatsBitForBit) {
  AllToAllDispatcher dispatcher(bench_.comm, bench_.nodes(ranks_per_node_), bench_.contiguous(), *bench_.ops,
                                *bench_.travel);
  MoeBench layer(bench_, dispatcher);
  std::vector<double> first[2];
  for (int run = 0; run < 2; ++run) {
    const auto y = bench_.values(layer.moe.forward(bench_.training, own(1), layer.saved));
    const auto dx = bench_.values(layer.moe.backward_input(bench_.training, own(2), layer.saved));
    layer.moe.backward_weight(bench_.training, layer.saved);
    if (run == 0) {
      first[0] = y;
      first[1] = dx;
    } else {
      EXPECT_EQ(y, first[0]);
      EXPECT_EQ(dx, first[1]);
    }
  }
}

// Promises: with hot experts copied and placed by load the layer's output is that of one rank, from weights that each
// slot takes from its logical tensor; training on such a placement is refused.
TEST_P(MoeOverRanks, ServesPlacedExperts) {
  const int ranks = bench_.size();
  const NodeMap nodes = bench_.nodes(ranks_per_node_);
  std::vector<double> loads;
  for (std::int64_t e = 0; e < kExperts; ++e) loads.push_back(static_cast<double>((e * 7) % 5 + (e == 3 ? 40 : 0)));
  const ExpertPlacement placement = plan_placement(
      loads, {.num_slots = kExperts + 2 * ranks, .num_groups = 8, .num_nodes = nodes.nodes(), .num_ranks = ranks});
  AllToAllDispatcher dispatcher(bench_.comm, nodes, placement, *bench_.ops, *bench_.travel);
  MoeBench layer(bench_, dispatcher, false);
  Whole whole(bench_, false);

  const auto y = bench_.values(layer.moe.forward(bench_.evaluation, own(1), layer.saved));

  EXPECT_LE(difference(y, own_rows(whole.y), whole.y), bound_);
  std::vector<std::int64_t> read;
  for (const NamedShard& shard : weight_shards(layer.store))
    if (shard.spec.name == "model/moe.experts.w_gate")
      for (std::int64_t row = 0; row < shard.spec.extent[0]; ++row) read.push_back(shard.spec.offset[0] + row);
  EXPECT_EQ(read, placement.held_by(bench_.rank()));
  if (placement.held_by(0)[1] != placement.held_by(0)[0] + 1) {
    EXPECT_THROW(ParameterStore(*bench_.ops, layer.moe.parameters(), {}, *bench_.stream), Error);
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, MoeOverRanks,
                         ::testing::Combine(::testing::Values("cpu"),
                                            ::testing::Values(DType::f64, DType::f32, DType::bf16),
                                            ::testing::Values(0, 1, 2, 4)));
INSTANTIATE_TEST_SUITE_P(Guarded, MoeOverRanks,
                         ::testing::Combine(::testing::Values("cpu-guarded"), ::testing::Values(DType::f64),
                                            ::testing::Values(1, 2)));

}  // namespace
}  // namespace athanor
