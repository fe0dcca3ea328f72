// Choosing tokens: distribution, truncations, determinism, log-probabilities.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/support/device_fixture.hpp"
#include "tests/support/reference_ops.hpp"

namespace athanor {
namespace {

class SamplingTest : public DeviceTest {
 protected:
  struct Result {
    std::vector<std::int32_t> ids;
    std::vector<double> logprobs;
  };
  Result sample(const Tensor& logits_RV, const std::vector<std::int64_t>& keys, const SamplingArgs& args,
                std::uint64_t seed = 1) {
    const auto rows = static_cast<std::int64_t>(keys.size());
    Tensor ids_R = output_ids({rows}), logprobs_R = output({rows}, acc());
    ops().sample(ids_R, logprobs_R, logits_RV, counts(keys), seed, args, stream());
    return {read_ids(ids_R), read(logprobs_R)};
  }
  static std::vector<std::int64_t> keys_from(std::int64_t first, std::size_t count) {
    std::vector<std::int64_t> keys(count);
    std::iota(keys.begin(), keys.end(), first);
    return keys;
  }
};

// Promise: tokens come with the truncated, renormalised probabilities of the reference, and never from what is cut; the
// log-probability is that before the truncations.
TEST_P(SamplingTest, DrawsTheTruncatedDistribution) {
  const std::int64_t vocabulary = 11, draws = 4000;
  std::vector<double> row = random_values(vocabulary, 1, -2.0, 2.0);
  row[3] = row[7];  // a tie
  tensor(row, {vocabulary}, dtype());
  std::vector<double> rows;
  for (std::int64_t r = 0; r < draws; ++r) rows.insert(rows.end(), row.begin(), row.end());
  const Tensor logits_RV = tensor(rows, {draws, vocabulary}, dtype());
  for (const SamplingArgs& args :
       {SamplingArgs{}, SamplingArgs{.temperature = 0.6}, SamplingArgs{.top_k = 4}, SamplingArgs{.top_p = 0.7},
        SamplingArgs{.min_p = 0.2}, SamplingArgs{.temperature = 1.3, .top_p = 0.9, .top_k = 6, .min_p = 0.1}}) {
    const auto found = sample(logits_RV, keys_from(0, draws), args);
    const auto wanted = reference::truncated_probabilities(row, args);
    const auto full = reference::truncated_probabilities(row, {.temperature = args.temperature});
    std::vector<double> share(static_cast<std::size_t>(vocabulary));
    for (std::size_t r = 0; r < found.ids.size(); ++r) {
      const auto id = static_cast<std::size_t>(found.ids[r]);
      ASSERT_LT(id, row.size());
      ASSERT_GT(wanted[id], 0.0) << "token " << id << " is cut";
      ASSERT_NEAR(found.logprobs[r], std::log(full[id]), acc() == DType::f64 ? 1e-13 : 1e-6);
      share[id] += 1.0 / static_cast<double>(draws);
    }
    // Five standard deviations of a share of 4000 draws.
    for (std::size_t id = 0; id < row.size(); ++id)
      EXPECT_NEAR(share[id], wanted[id],
                  5.0 * std::sqrt(wanted[id] * (1 - wanted[id]) / static_cast<double>(draws)) + 1e-12);
  }
}

// Promise: a row's token depends on its logits, seed and key alone: alone or in a batch, at any place.
TEST_P(SamplingTest, DoesNotDependOnTheBatch) {
  const std::int64_t vocabulary = 5003, rows = 6;
  const SamplingArgs args{.temperature = 0.9, .top_p = 0.95, .top_k = 500};
  const Tensor logits_RV = tensor(random_values(rows * vocabulary, 1, -4.0, 4.0), {rows, vocabulary}, dtype());
  const auto all = sample(logits_RV, keys_from(100, rows), args);
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto alone = sample(logits_RV.rows(r, r + 1), {100 + r}, args);
    EXPECT_EQ(alone.ids[0], all.ids[static_cast<std::size_t>(r)]);
    EXPECT_EQ(alone.logprobs[0], all.logprobs[static_cast<std::size_t>(r)]);
  }
  EXPECT_NE(sample(logits_RV, keys_from(200, rows), args).ids, all.ids);
  EXPECT_NE(sample(logits_RV, keys_from(100, rows), args, 2).ids, all.ids);
}

// Promise: temperature 0 and top_k 1 take the largest logit, the lower id on a tie.
TEST_P(SamplingTest, TakesTheLargest) {
  const Tensor logits_RV = tensor({0, 3, 1, 3, 5, 2, 5, 5}, {2, 4}, dtype());
  EXPECT_EQ(sample(logits_RV, {1, 2}, {.temperature = 0.0}).ids, (std::vector<std::int32_t>{1, 0}));
  EXPECT_EQ(sample(logits_RV, {1, 2}, {.top_k = 1}).ids, (std::vector<std::int32_t>{1, 0}));
  EXPECT_EQ(sample(logits_RV, {1, 2}, {.top_p = 1e-9}).ids, (std::vector<std::int32_t>{1, 0}));
}

// Promise: of equal tokens at the border of a truncation the lower ids stay, as many as are needed.
TEST_P(SamplingTest, CutsTiesByTheLowerId) {
  const std::int64_t vocabulary = 150, draws = 400;
  std::vector<double> row(static_cast<std::size_t>(vocabulary), -1.0);
  for (std::size_t id = 20; id < 120; ++id) row[id] = 2.0;  // a hundred equal ones
  std::vector<double> rows;
  for (std::int64_t r = 0; r < draws; ++r) rows.insert(rows.end(), row.begin(), row.end());
  const Tensor logits_RV = tensor(rows, {draws, vocabulary}, dtype());
  const auto kept = [&](const SamplingArgs& args) {
    const auto ids = sample(logits_RV, keys_from(0, draws), args).ids;
    return std::pair(*std::min_element(ids.begin(), ids.end()), *std::max_element(ids.begin(), ids.end()));
  };
  EXPECT_EQ(kept({.top_k = 5}), std::pair(20, 24));
  EXPECT_EQ(kept({.top_p = 0.0399, .top_k = 100}), std::pair(20, 23));
  EXPECT_EQ(kept({.top_p = 0.5, .top_k = 8}), std::pair(20, 23));
  EXPECT_EQ(kept({.top_k = 3, .min_p = 1.0}), std::pair(20, 22));
}

// Promise: at temperature 1 the log-probability is, bit for bit, the loss training computes for that token.
TEST_P(SamplingTest, LogProbabilityIsTheTrainingLoss) {
  const std::int64_t vocabulary = 3001, rows = 9;
  const Tensor logits_RV = tensor(random_values(rows * vocabulary, 1, -5.0, 5.0), {rows, vocabulary}, dtype());
  const auto found = sample(logits_RV, keys_from(0, rows), {});
  Tensor losses_R = output({rows}, acc());
  ops().cross_entropy(losses_R, {}, logits_RV, ids(found.ids, {rows}),
                      tensor(std::vector<double>(rows, 1.0), {rows}, acc()), stream());
  const auto losses = read(losses_R);
  for (std::size_t r = 0; r < losses.size(); ++r) EXPECT_EQ(found.logprobs[r], -losses[r]);
}

// Promise: NaN logits give a NaN log-probability and some token, whatever the truncation.
TEST_P(SamplingTest, SurvivesNan) {
  std::vector<double> logits(300, std::nan(""));
  const auto found = sample(tensor(logits, {1, 300}, dtype()), {0}, {.top_p = 0.5, .top_k = 40});
  EXPECT_TRUE(std::isnan(found.logprobs[0]));
  EXPECT_GE(found.ids[0], 0);
  EXPECT_LT(found.ids[0], 300);
}

INSTANTIATE_TEST_SUITE_P(Backends, SamplingTest, testing::ValuesIn(device_cases()), device_case_name);

}  // namespace
}  // namespace athanor
