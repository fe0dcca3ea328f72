// Rows of tokens to rows of experts and back, against the reference on every device and type.
#include "tests/support/device_fixture.hpp"
#include "tests/support/reference_ops.hpp"

namespace athanor {
namespace {

class PermuteTest : public DeviceTest {
 protected:
  static constexpr std::int64_t kTokens = 53, kTopK = 3, kExperts = 11, kWidth = 301, kRows = kTokens * kTopK;
  const std::vector<std::int32_t> expert_ids_ = random_ids(kRows, 1, kExperts);
  const reference::Sorted sorted_ = reference::sort_by_expert(expert_ids_, kExperts);
};

// Promise: a stable sort by expert, its inverse, and offsets, experts without rows included.
TEST_P(PermuteTest, SortsByExpert) {
  for (const auto& [chosen, experts] : {std::pair{expert_ids_, std::int64_t{kExperts}},
                                        std::pair{std::vector<std::int32_t>{4, 4, 0, 4}, std::int64_t{6}},
                                        std::pair{std::vector<std::int32_t>{}, std::int64_t{3}}}) {
    const auto rows = static_cast<std::int64_t>(chosen.size());
    Tensor pair_of_R = output_ids({rows}), row_of_TK = output_ids({rows, 1}), offsets_E1 = output_ids({experts + 1});
    ops().sort_by_expert(pair_of_R, row_of_TK, offsets_E1, ids(chosen, {rows, 1}), stream());
    const auto wanted = reference::sort_by_expert(chosen, experts);
    EXPECT_EQ(read_ids(pair_of_R), wanted.pair_of_R);
    EXPECT_EQ(read_ids(row_of_TK), wanted.row_of_TK);
    EXPECT_EQ(read_ids(offsets_E1), wanted.offsets_E1);
  }
}

// Promise: rows are copied to their experts and summed back with their weights, or with 1, to what is there or not.
TEST_P(PermuteTest, PermutesAndUnpermutes) {
  std::vector<double> x = random_values(kTokens * kWidth, 2), weights = random_values(kRows, 3);
  Tensor rows_RD = output({kRows, kWidth}, dtype()), y_TD = output({kTokens, kWidth}, dtype());
  ops().permute_rows(rows_RD, tensor(x, {kTokens, kWidth}, dtype()), ids(sorted_.pair_of_R, {kRows}), kTopK, stream());
  const auto rows = reference::permute_rows(x, sorted_.pair_of_R, kTopK, kWidth);
  EXPECT_EQ(read(rows_RD), rows);

  const Tensor row_of_TK = ids(sorted_.row_of_TK, {kTokens, kTopK}),
               weights_TK = tensor(weights, {kTokens, kTopK}, acc());
  ops().unpermute_rows(y_TD, rows_RD, row_of_TK, weights_TK, false, stream());
  const auto weighted = reference::unpermute_rows(rows, sorted_.row_of_TK, weights, kTopK, kWidth);
  EXPECT_TRUE(near(read(y_TD), weighted, bound(8)));
  const auto before = read(y_TD);
  ops().unpermute_rows(y_TD, rows_RD, row_of_TK, weights_TK, true, stream());
  std::vector<double> twice;
  for (std::size_t i = 0; i < weighted.size(); ++i) twice.push_back(before[i] + weighted[i]);
  EXPECT_TRUE(near(read(y_TD), twice, bound(8)));
  ops().unpermute_rows(y_TD, rows_RD, row_of_TK, {}, false, stream());
  EXPECT_TRUE(near(read(y_TD), reference::unpermute_rows(rows, sorted_.row_of_TK, {}, kTopK, kWidth), bound(8)));
}

// Promise: the gradients of rows and of weights.
TEST_P(PermuteTest, DifferentiatesTheSum) {
  std::vector<double> dy = random_values(kTokens * kWidth, 2), weights = random_values(kRows, 3);
  std::vector<double> x = random_values(kRows * kWidth, 4);
  Tensor dx_RD = output({kRows, kWidth}, dtype()), dweights_TK = output({kTokens, kTopK}, acc());
  const Tensor dy_TD = tensor(dy, {kTokens, kWidth}, dtype()), x_RD = tensor(x, {kRows, kWidth}, dtype());
  const Tensor row_of_TK = ids(sorted_.row_of_TK, {kTokens, kTopK}),
               weights_TK = tensor(weights, {kTokens, kTopK}, acc());

  ops().unpermute_rows_backward(dx_RD, dweights_TK, dy_TD, x_RD, row_of_TK, weights_TK, stream());

  const auto wanted = reference::unpermute_rows_backward(dy, x, sorted_.row_of_TK, weights, kTopK, kWidth);
  EXPECT_TRUE(near(read(dx_RD), wanted.dx_RD, bound(2)));
  EXPECT_TRUE(near(read(dweights_TK), wanted.dweights_TK, acc_bound(100)));  // sums of 301 products
}

// Promise: pairs that other ranks serve (-1) get no row, add nothing and have no gradient; a wrong number of rows is
// refused.
TEST_P(PermuteTest, PassesOverPairsServedElsewhere) {
  std::vector<std::int32_t> chosen = expert_ids_;
  for (std::size_t pair = 0; pair < chosen.size(); ++pair)
    if (pair % 4 == 1 || pair / kTopK == 7) chosen[pair] = -1;  // token 7 has no pair at all
  const auto sorted = reference::sort_by_expert(chosen, kExperts);
  const auto here = static_cast<std::int64_t>(sorted.pair_of_R.size());
  Tensor pair_of_R = output_ids({here}), row_of_TK = output_ids({kTokens, kTopK}),
         offsets_E1 = output_ids({kExperts + 1});
  const Tensor chosen_TK = ids(chosen, {kTokens, kTopK});
  ops().sort_by_expert(pair_of_R, row_of_TK, offsets_E1, chosen_TK, stream());
  EXPECT_EQ(read_ids(pair_of_R), sorted.pair_of_R);
  EXPECT_EQ(read_ids(row_of_TK), sorted.row_of_TK);
  EXPECT_EQ(read_ids(offsets_E1), sorted.offsets_E1);
  EXPECT_THROW(
      {
        ops().sort_by_expert(output_ids({here - 1}), row_of_TK, offsets_E1, chosen_TK, stream());
        stream().synchronize();
      },
      Error);

  std::vector<double> dy = random_values(kTokens * kWidth, 2), weights = random_values(kRows, 3);
  std::vector<double> x = random_values(here * kWidth, 4);
  Tensor y_TD = output({kTokens, kWidth}, dtype()), dx_RD = output({here, kWidth}, dtype()),
         dweights_TK = output({kTokens, kTopK}, acc());
  const Tensor dy_TD = tensor(dy, {kTokens, kWidth}, dtype()), x_RD = tensor(x, {here, kWidth}, dtype());
  const Tensor rows_TK = ids(sorted.row_of_TK, {kTokens, kTopK}), weights_TK = tensor(weights, {kTokens, kTopK}, acc());
  ops().unpermute_rows(y_TD, x_RD, rows_TK, weights_TK, false, stream());
  EXPECT_TRUE(near(read(y_TD), reference::unpermute_rows(x, sorted.row_of_TK, weights, kTopK, kWidth), bound(8)));
  ops().unpermute_rows_backward(dx_RD, dweights_TK, dy_TD, x_RD, rows_TK, weights_TK, stream());
  const auto wanted = reference::unpermute_rows_backward(dy, x, sorted.row_of_TK, weights, kTopK, kWidth);
  EXPECT_TRUE(near(read(dx_RD), wanted.dx_RD, bound(2)));
  EXPECT_TRUE(near(read(dweights_TK), wanted.dweights_TK, acc_bound(100)));
}

// Promise: a batch without rows is fine.
TEST_P(PermuteTest, AcceptsNoRows) {
  Tensor rows_RD = ops().empty({0, kWidth}, dtype()), y_TD = ops().empty({0, kWidth}, dtype());
  ops().permute_rows(rows_RD, y_TD, ids({}, {0}), kTopK, stream());
  ops().unpermute_rows(y_TD, rows_RD, ids({}, {0, kTopK}), {}, false, stream());
  EXPECT_NO_THROW(stream().synchronize());
}

INSTANTIATE_TEST_SUITE_P(Backends, PermuteTest, testing::ValuesIn(device_cases()), device_case_name);

}  // namespace
}  // namespace athanor
