// What goes to experts as FP8: rounded where it leaves, so that experts get the same bits wherever they live.
#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

#include "src/backend/operand_shapes.hpp"
#include "tests/parallel/expert/expert_bench.hpp"

namespace athanor {
namespace {

using testing::difference;
using testing::kExperts;
using testing::kTopK;
using testing::MoeBench;
using testing::RankBench;
using testing::rows_of;

constexpr std::int64_t kWidth = 272;  // two whole tiles and a part of one

MoeConfig wide_moe() {
  MoeConfig config = testing::toy_moe();
  config.router.dim = config.dim = kWidth;
  config.router.init_std = config.init_std = 0.1;
  config.moe_inter_dim = 32;
  return config;
}

class Fp8Dispatch : public ::testing::TestWithParam<std::tuple<const char*, DType, int>> {
 protected:
  RankBench bench_{std::get<0>(GetParam()), std::get<1>(GetParam())};
  AllToAllDispatcher dispatcher_{bench_.comm, bench_.nodes(std::get<2>(GetParam())), bench_.contiguous(), *bench_.ops,
                                 *bench_.travel};
  LocalDispatcher whole_{kExperts};
  // Sums in another order; bf16 rounds partial sums to 8 bits.
  const double bound_ = bench_.dtype == DType::f32 ? 1e-5 : 3e-2;

  Tensor rows(std::int64_t first, std::int64_t count, std::uint64_t stream) {
    return bench_.tensor(bench_.random_rows(first, count, kWidth, stream), {count, kWidth});
  }
  Tensor own(std::uint64_t stream) { return rows(bench_.first_token(), bench_.tokens(), stream); }
  Tensor everyones(std::uint64_t stream) { return rows(0, bench_.all_tokens(), stream); }
  std::vector<double> own_rows(const std::vector<double>& all) const {
    return rows_of(all, bench_.first_token(), bench_.tokens(), kWidth);
  }

  /// Three different experts for each of `count` tokens from `first` on, and their weights.
  Routing routing(std::int64_t first, std::int64_t count) {
    std::vector<std::int32_t> ids;
    for (std::int64_t token = first; token < first + count; ++token)
      for (std::int64_t k = 0; k < kTopK; ++k) ids.push_back(static_cast<std::int32_t>((token * 5 + k * 3) % kExperts));
    auto weights = bench_.random_rows(first, count, kTopK, 3);
    for (double& weight : weights) weight = 0.5 + std::abs(weight);
    return {upload_vector<std::int32_t>(*bench_.ops, ids, {count, kTopK}, *bench_.stream),
            bench_.tensor(weights, {count, kTopK}, DType::f32)};
  }
  /// Bytes and scales of FP8 rows [first, last), one vector a row; sorted where two hops mix sources.
  std::vector<std::vector<double>> bits(Activation x, std::int64_t first, std::int64_t last) {
    const Fp8Matrix& matrix = x.fp8_rows(bench_.training, KeptInputs::fp8);
    const auto values = testing::download_integers<std::uint8_t>(*bench_.ops, matrix.values, *bench_.stream);
    const auto scales = bench_.values(matrix.scales);
    const auto count = static_cast<std::size_t>(matrix.values.dim(0));
    std::vector<std::vector<double>> found;
    for (std::int64_t r = first; r < last; ++r) {
      found.emplace_back(values.begin() + r * kWidth, values.begin() + (r + 1) * kWidth);
      for (std::size_t tile = 0; tile < static_cast<std::size_t>(fp8_tiles(kWidth)); ++tile)
        found.back().push_back(scales[tile * count + static_cast<std::size_t>(r)]);
    }
    if (dispatcher_.nodes().has_two_levels()) std::sort(found.begin(), found.end());
    return found;
  }
};

// Promises: experts get the rows, and the gradients of their results, that LocalDispatcher makes of everyone's tokens,
// bit for bit, scales included; a row takes a byte an element on its way.
TEST_P(Fp8Dispatch, ExpertsGetTheBitsOfTheSpecification) {
  DispatchHandle handle, all;
  handle.fp8 = all.fp8 = true;
  ExecContext& ctx = bench_.training;
  const Routing mine = routing(bench_.first_token(), bench_.tokens()),
                everyones_routing = routing(0, bench_.all_tokens());
  const Tensor x_TD = own(1), all_TD = everyones(1), dy_TD = own(2), all_dy_TD = everyones(2);
  dispatcher_.start_dispatch(ctx, x_TD, mine, handle);
  const Activation x_RD = dispatcher_.finish_dispatch(ctx, x_TD, mine, handle);
  whole_.start_dispatch(ctx, all_TD, everyones_routing, all);
  const Activation all_RD = whole_.finish_dispatch(ctx, all_TD, everyones_routing, all);
  const auto offsets = testing::download_integers<std::int32_t>(*bench_.ops, all.offsets_E1, *bench_.stream);
  const auto here = static_cast<std::size_t>(kExperts / bench_.size() * bench_.rank());
  const std::int64_t first = offsets[here], last = offsets[here + static_cast<std::size_t>(kExperts / bench_.size())];
  ASSERT_EQ(x_RD.num_rows(), last - first);
  EXPECT_EQ(bits(x_RD, 0, last - first), bits(all_RD, first, last));

  const Traffic traffic = dispatcher_.traffic();
  EXPECT_EQ(traffic.bytes_within_node + traffic.bytes_across_nodes,
            (traffic.rows_within_node + traffic.rows_across_nodes) * (kWidth + 16 + kTopK * (4 + 4)));

  const Tensor y_RD = x_RD.numbers(ctx), all_y_RD = all_RD.numbers(ctx);
  dispatcher_.start_combine_backward(ctx, dy_TD, handle);
  const auto gradients = dispatcher_.finish_combine_backward(ctx, dy_TD, y_RD, mine, handle);
  whole_.start_combine_backward(ctx, all_dy_TD, all);
  const auto all_gradients = whole_.finish_combine_backward(ctx, all_dy_TD, all_y_RD, everyones_routing, all);
  EXPECT_EQ(bits(gradients.dy_RD, 0, last - first), bits(all_gradients.dy_RD, first, last));
}

// Promises: a layer in FP8 has the output and the gradients of one rank, to the rounding of partial sums; where one hop
// keeps the order of rows, the gradients of the experts to the bit.
TEST_P(Fp8Dispatch, LayerEqualsOneRank) {
  MoeBench layer(bench_, dispatcher_, true, wide_moe()), whole(bench_, whole_, true, wide_moe());
  std::vector<double> y[2], dx[2];
  for (const bool everyone : {false, true}) {
    MoeBench& one = everyone ? whole : layer;
    one.moe.use_fp8(KeptInputs::fp8);
    y[everyone] = bench_.values(one.moe.forward(bench_.training, everyone ? everyones(1) : own(1), one.saved));
    dx[everyone] = bench_.values(one.moe.backward_input(bench_.training, everyone ? everyones(2) : own(2), one.saved));
    one.moe.backward_weight(bench_.training, one.saved);
  }
  EXPECT_LE(difference(y[0], own_rows(y[1]), y[1]), bound_);
  EXPECT_LE(difference(dx[0], own_rows(dx[1]), dx[1]), bound_);
  for (std::size_t i = 0; i < layer.moe.parameters().size(); ++i) {
    const Parameter& mine = *layer.moe.parameters()[i];
    if (mine.group != GradientGroup::expert) continue;
    const auto all = bench_.values(whole.moe.parameters()[i]->grad), found = bench_.values(mine.grad);
    const auto wanted = rows_of(all, mine.spec.offset[0], mine.spec.extent[0], mine.weight.shape().row_numel());
    if (dispatcher_.nodes().has_two_levels())
      EXPECT_LE(difference(found, wanted, all), 0.2) << mine.name();  // tiles of other rows
    else
      EXPECT_EQ(found, wanted) << mine.name();
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, Fp8Dispatch,
                         ::testing::Combine(::testing::Values("cpu"), ::testing::Values(DType::f32, DType::bf16),
                                            ::testing::Values(0, 1, 2)));
INSTANTIATE_TEST_SUITE_P(Guarded, Fp8Dispatch,
                         ::testing::Combine(::testing::Values("cpu-guarded"), ::testing::Values(DType::bf16),
                                            ::testing::Values(1, 2)));

}  // namespace
}  // namespace athanor
