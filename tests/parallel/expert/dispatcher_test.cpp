// What moves where: dispatch and combine by themselves, with routings made by hand.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "src/base/error.hpp"
#include "tests/parallel/expert/expert_bench.hpp"
#include "tests/support/dispatch_at_once.hpp"

namespace athanor {
namespace {

using testing::combine;
using testing::combine_backward;
using testing::dispatch;
using testing::dispatch_backward;
using testing::RankBench;
using testing::tokens_on;

constexpr std::int64_t kWidth = 4, kHere = 2;  // experts a rank

class DispatcherTest : public ::testing::TestWithParam<std::tuple<const char*, int>> {
 protected:
  RankBench bench_{std::get<0>(GetParam())};
  const std::int64_t experts_ = kHere * bench_.size();
  AllToAllDispatcher dispatcher_{bench_.comm, bench_.nodes(std::get<1>(GetParam())),
                                 ExpertPlacement::contiguous(experts_, bench_.size()), *bench_.ops, *bench_.travel};
  DispatchHandle handle_;

  Routing routing(const std::vector<std::int32_t>& ids, const std::vector<double>& weights, std::int64_t tokens,
                  std::int64_t top_k = 2) {
    return {upload_vector<std::int32_t>(*bench_.ops, ids, {tokens, top_k}, *bench_.stream),
            bench_.tensor(weights, {tokens, top_k})};
  }
  /// Two different experts for each of `count` tokens of the job from `first` on, the same whoever asks.
  std::vector<std::int32_t> chosen(std::int64_t first, std::int64_t count) const {
    std::vector<std::int32_t> ids;
    for (std::int64_t token = first; token < first + count; ++token) {
      const std::int64_t one = token * token % experts_, step = 1 + token % (experts_ - 1);
      ids.push_back(static_cast<std::int32_t>(one));
      ids.push_back(static_cast<std::int32_t>((one + step) % experts_));
    }
    return ids;
  }
  Tensor own_rows(std::uint64_t stream) {
    return bench_.tensor(bench_.random_rows(bench_.first_token(), bench_.tokens(), kWidth, stream),
                         {bench_.tokens(), kWidth});
  }
  double dot_over_ranks(const Tensor& a, const Tensor& b) {
    const auto x = bench_.values(a), y = bench_.values(b);
    return bench_.world.sum(std::inner_product(x.begin(), x.end(), y.begin(), 0.0));
  }
};

// Promises: with weights of 1 and experts that do nothing, dispatch then combine multiplies by the number of experts,
// and so do the backwards, also into what is there already; also on ranks without tokens.
TEST_P(DispatcherTest, DispatchThenCombineCountsExperts) {
  std::vector<double> x(static_cast<std::size_t>(bench_.tokens() * kWidth));
  std::iota(x.begin(), x.end(), 100.0 * bench_.rank());
  std::vector<double> doubled, fourfold;
  for (const double value : x) {
    doubled.push_back(2.0 * value);
    fourfold.push_back(4.0 * value);
  }
  const Tensor x_TD = bench_.tensor(x, {bench_.tokens(), kWidth});
  const Routing routed =
      routing(chosen(bench_.first_token(), bench_.tokens()),
              std::vector<double>(static_cast<std::size_t>(2 * bench_.tokens()), 1.0), bench_.tokens());

  const Tensor x_RD = dispatch(dispatcher_, bench_.training, x_TD, routed, handle_);
  const Tensor y_TD = combine(dispatcher_, bench_.training, x_RD, routed, handle_);
  EXPECT_EQ(bench_.values(y_TD), doubled);
  combine(dispatcher_, bench_.training, x_RD, routed, handle_, y_TD);
  EXPECT_EQ(bench_.values(y_TD), fourfold);

  const auto [dy_RD, dweights_CK] = combine_backward(dispatcher_, bench_.training, x_TD, x_RD, routed, handle_);
  const auto home = dispatch_backward(dispatcher_, bench_.training, dy_RD, dweights_CK, handle_);
  EXPECT_EQ(bench_.values(home.dx_TD), doubled);
  dispatch_backward(dispatcher_, bench_.training, dy_RD, dweights_CK, handle_, home.dx_TD);
  EXPECT_EQ(bench_.values(home.dx_TD), fourfold);
  EXPECT_EQ(bench_.values(dy_RD), bench_.values(x_RD));
}

// Promises: each expert gets its rows in the order of LocalDispatcher over everyone's tokens where one hop suffices,
// and the same rows in some order with two.
TEST_P(DispatcherTest, ExpertsGetTheRowsOfTheSpecification) {
  const std::int64_t all = bench_.all_tokens();
  LocalDispatcher local(experts_);
  DispatchHandle whole;
  const Tensor all_TD = bench_.tensor(bench_.random_rows(0, all, kWidth, 1), {all, kWidth});
  const std::vector<double> ones(static_cast<std::size_t>(2 * all), 1.0);
  const auto rows = bench_.values(dispatch(local, bench_.training, all_TD, routing(chosen(0, all), ones, all), whole));
  const auto offsets = testing::download_integers<std::int32_t>(*bench_.ops, whole.offsets_E1, *bench_.stream);
  const auto first = static_cast<std::size_t>(kHere * bench_.rank());

  const std::vector<double> own_ones(static_cast<std::size_t>(2 * bench_.tokens()), 1.0);
  const Tensor x_RD =
      dispatch(dispatcher_, bench_.training, own_rows(1),
               routing(chosen(bench_.first_token(), bench_.tokens()), own_ones, bench_.tokens()), handle_);

  const auto own_offsets = testing::download_integers<std::int32_t>(*bench_.ops, handle_.offsets_E1, *bench_.stream);
  for (std::size_t e = 0; e <= static_cast<std::size_t>(kHere); ++e)
    EXPECT_EQ(own_offsets[e], offsets[first + e] - offsets[first]);
  auto got = bench_.values(x_RD);
  std::vector<double> wanted(rows.begin() + offsets[first] * kWidth, rows.begin() + offsets[first + kHere] * kWidth);
  if (dispatcher_.nodes().has_two_levels()) {
    std::sort(got.begin(), got.end());
    std::sort(wanted.begin(), wanted.end());
  }
  EXPECT_EQ(got, wanted);
}

// Promises: the backwards are transposes over all ranks: <dispatch x, r> = <x, dispatch_backward r>, <combine r, y> =
// <r, combine_backward y> = <weights, their gradient>.
TEST_P(DispatcherTest, BackwardsAreTransposes) {
  const auto weights = bench_.random_rows(bench_.first_token(), bench_.tokens(), 2, 3);
  const Routing routed = routing(chosen(bench_.first_token(), bench_.tokens()), weights, bench_.tokens());
  const Tensor x = own_rows(1), y = own_rows(2);
  const Tensor rows = dispatch(dispatcher_, bench_.training, x, routed, handle_);
  const Tensor r =
      bench_.tensor(testing::random_values(rows.numel(), 40 + static_cast<std::uint64_t>(bench_.rank())), rows.shape());
  const auto [dr, dweights_CK] = combine_backward(dispatcher_, bench_.training, y, r, routed, handle_);
  const auto home = dispatch_backward(dispatcher_, bench_.training, r, dweights_CK, handle_);
  EXPECT_NEAR(dot_over_ranks(rows, r), dot_over_ranks(x, home.dx_TD), 1e-11);
  const double product = dot_over_ranks(combine(dispatcher_, bench_.training, r, routed, handle_), y);
  EXPECT_NEAR(product, dot_over_ranks(r, dr), 1e-11);
  EXPECT_NEAR(product, dot_over_ranks(routed.weights_TK, home.dweights_TK), 1e-11);
}

// Promises: when everyone asks for the last expert, its rank gets all rows in order of rank and token, and the others
// none.
TEST_P(DispatcherTest, AllTokensToOneExpert) {
  const auto count = static_cast<std::size_t>(bench_.tokens());
  const Routing routed = routing(std::vector<std::int32_t>(count, static_cast<std::int32_t>(experts_ - 1)),
                                 std::vector<double>(count, 0.5), bench_.tokens(), 1);
  const Tensor x = own_rows(1);
  const Tensor rows = dispatch(dispatcher_, bench_.training, x, routed, handle_);
  const bool serves = bench_.rank() == bench_.size() - 1;
  EXPECT_EQ(rows.dim(0), serves ? bench_.all_tokens() : 0);
  auto halved = bench_.values(x);
  for (double& value : halved) value *= 0.5;
  EXPECT_EQ(bench_.values(combine(dispatcher_, bench_.training, rows, routed, handle_)), halved);
}

// Promises: the copies of an expert take turns: expert 0 has a slot on every rank, two on rank 0, and a rank's token t
// goes to copy t modulo their number.
TEST_P(DispatcherTest, CopiesTakeTurns) {
  const int ranks = bench_.size();
  ExpertPlacement placement{ranks, ranks, {}};
  for (std::int64_t rank = 0; rank < ranks; ++rank) {
    placement.physical_to_logical.push_back(0);
    placement.physical_to_logical.push_back(rank);
  }
  AllToAllDispatcher copies(bench_.comm, bench_.nodes(std::get<1>(GetParam())), placement, *bench_.ops, *bench_.travel);
  const auto count = static_cast<std::size_t>(bench_.tokens());
  const Routing routed =
      routing(std::vector<std::int32_t>(count, 0), std::vector<double>(count, 1.0), bench_.tokens(), 1);
  const Tensor rows = dispatch(copies, bench_.training, own_rows(1), routed, handle_);
  std::int64_t wanted = 0;
  for (int source = 0; source < ranks; ++source)
    for (std::int64_t t = 0; t < tokens_on(source); ++t) {
      const std::int64_t copy = t % (ranks + 1);
      wanted += std::max<std::int64_t>(copy - 1, 0) == bench_.rank() ? 1 : 0;
    }
  EXPECT_EQ(rows.dim(0), wanted);
}

// Promises: a choice that is no expert is refused before anything moves.
TEST_P(DispatcherTest, RefusesUnknownExperts) {
  const Routing routed = routing({0, static_cast<std::int32_t>(experts_)}, {1, 1}, 1);
  const Tensor x = bench_.tensor({1, 2, 3, 4}, {1, kWidth});
  EXPECT_THROW(dispatch(dispatcher_, bench_.training, x, routed, handle_), Error);
}

// Promises: no rank with any token is fine too.
TEST_P(DispatcherTest, MovesNothing) {
  const Routing routed = routing({}, {}, 0);
  const Tensor x = bench_.tensor({}, {0, kWidth});
  const Tensor rows = dispatch(dispatcher_, bench_.training, x, routed, handle_);
  EXPECT_EQ(rows.dim(0), 0);
  EXPECT_EQ(combine(dispatcher_, bench_.training, rows, routed, handle_).dim(0), 0);
}

INSTANTIATE_TEST_SUITE_P(Devices, DispatcherTest,
                         ::testing::Combine(::testing::Values("cpu", "cpu-guarded"), ::testing::Values(0, 1, 2, 3)));

// Promises: one token on rank 0 with experts on ranks 1, 2, 3 and 3. Two ranks a node: once to the other node's rank 2,
// on from there to rank 3, and inside the own node to rank 1. A node a rank: once to each of three ranks.
TEST(DispatcherTraffic, CountsRowsByHand) {
  RankBench bench("cpu");
  if (bench.size() != 4) GTEST_SKIP() << "two nodes of two ranks: wants exactly 4";
  const std::int64_t tokens = bench.rank() == 0 ? 1 : 0;
  const std::vector<std::int32_t> ids =
      tokens == 0 ? std::vector<std::int32_t>{} : std::vector<std::int32_t>{2, 4, 6, 7};
  const Routing routed{upload_vector<std::int32_t>(*bench.ops, ids, {tokens, 4}, *bench.stream),
                       bench.tensor(std::vector<double>(ids.size(), 1.0), {tokens, 4})};
  const Tensor x = bench.tensor(std::vector<double>(static_cast<std::size_t>(tokens * kWidth), 1.0), {tokens, kWidth});
  constexpr std::int64_t kRowBytes = kWidth * 8 + 4 * (4 + 8);
  const auto run = [&](std::int64_t ranks_per_node) {
    AllToAllDispatcher dispatcher(bench.comm, bench.nodes(ranks_per_node), ExpertPlacement::contiguous(8, 4),
                                  *bench.ops, *bench.travel);
    DispatchHandle handle;
    dispatch(dispatcher, bench.training, x, routed, handle);
    EXPECT_EQ(dispatcher.traffic().bytes_within_node, dispatcher.traffic().rows_within_node * kRowBytes);
    EXPECT_EQ(dispatcher.traffic().bytes_across_nodes, dispatcher.traffic().rows_across_nodes * kRowBytes);
    return dispatcher.traffic();
  };
  const Traffic by_node = run(2), by_rank = run(1), one_node = run(4);
  const bool source = bench.rank() == 0;
  EXPECT_EQ(by_node.rows_across_nodes, source ? 1 : 0);
  EXPECT_EQ(by_node.rows_within_node, source || bench.rank() == 2 ? 1 : 0);
  EXPECT_EQ(by_rank.rows_across_nodes, source ? 3 : 0);
  EXPECT_EQ(by_rank.rows_within_node, 0);
  EXPECT_EQ(one_node.rows_across_nodes, 0);
  EXPECT_EQ(one_node.rows_within_node, source ? 3 : 0);
}

}  // namespace
}  // namespace athanor
