// pass@k and error bars, and how tables show them.
#include "jobs/rl/estimates.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "jobs/rl/benchmark_summary.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

// The published estimator, computed apart from this code with binomials.
TEST(PassAtK, GoldenValues) {
  EXPECT_NEAR(pass_at_k(64, 1, 16), 0.25, 1e-12);
  EXPECT_NEAR(pass_at_k(64, 8, 16), 0.914746, 5e-7);
  EXPECT_EQ(pass_at_k(64, 64, 1), 1.0);
  EXPECT_NEAR(pass_at_k(10, 3, 5), 0.916667, 5e-7);
  EXPECT_EQ(pass_at_k(5, 0, 3), 0.0);
  EXPECT_NEAR(pass_at_k(200, 100, 10), 0.999229, 5e-7);
}

// k = 1 is the share of right samples, k = n whether there is one; it grows with k.
TEST(PassAtK, Ends) {
  for (std::int64_t c = 0; c <= 16; ++c) {
    EXPECT_NEAR(pass_at_k(16, c, 1), static_cast<double>(c) / 16.0, 1e-12);
    EXPECT_EQ(pass_at_k(16, c, 16), c > 0 ? 1.0 : 0.0);
    for (std::int64_t k = 2; k <= 16; ++k) EXPECT_GE(pass_at_k(16, c, k), pass_at_k(16, c, k - 1) - 1e-12);
  }
  EXPECT_EQ(pass_at_counts(16), (std::vector<std::int64_t>{1, 2, 4, 8, 16}));
  EXPECT_EQ(pass_at_counts(6), (std::vector<std::int64_t>{1, 2, 4, 6}));
  EXPECT_EQ(pass_at_counts(1), (std::vector<std::int64_t>{1}));
}

// Nonsense is refused.
TEST(PassAtK, RefusesWhatCannotBe) {
  EXPECT_THROW(pass_at_k(4, 5, 1), Error);
  EXPECT_THROW(pass_at_k(4, -1, 1), Error);
  EXPECT_THROW(pass_at_k(4, 2, 5), Error);
  EXPECT_THROW(pass_at_k(4, 2, 0), Error);
}

std::vector<double> coins(std::size_t count, double share) {
  std::vector<double> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<double>(i) < share * static_cast<double>(count);
  return values;
}

// The same values and seed give the same bits; another seed other ones near them.
TEST(Bootstrap, IsDeterministic) {
  const std::vector<double> values = coins(200, 0.3);
  const Estimate first = bootstrap_mean(values, 5), again = bootstrap_mean(values, 5),
                 other = bootstrap_mean(values, 6);
  EXPECT_EQ(first.error, again.error);
  EXPECT_EQ(first.low, again.low);
  EXPECT_EQ(first.high, again.high);
  EXPECT_NE(first.error, other.error);
  EXPECT_EQ(first.value, other.value);
}

// Errors are those of a mean: sqrt(p (1 - p) / n) within the 7 % that 1000 resamples leave (three times 1 /
// sqrt(2000)), and 95 % lie within 1.96 of them (15 %: quantiles of 1000 draws).
TEST(Bootstrap, HasTheErrorOfAMean) {
  for (const std::size_t count : {50U, 400U, 401U, 403U}) {
    const Estimate estimate = bootstrap_mean(coins(count, 0.3), 1);
    const double p = estimate.value, error = std::sqrt(p * (1.0 - p) / static_cast<double>(count));
    EXPECT_NEAR(p, 0.3, 0.01);
    EXPECT_NEAR(estimate.error, error, 0.07 * error) << count;
    EXPECT_NEAR(estimate.high - p, 1.96 * error, 0.15 * 1.96 * error) << count;
    EXPECT_NEAR(p - estimate.low, 1.96 * error, 0.15 * 1.96 * error) << count;
  }
}

// Values that are all one have no error; no value is no mean.
TEST(Bootstrap, Ends) {
  const Estimate estimate = bootstrap_mean(std::vector<double>(10, 1.0), 1);
  EXPECT_EQ(estimate.value, 1.0);
  EXPECT_EQ(estimate.error, 0.0);
  EXPECT_EQ(estimate.low, 1.0);
  EXPECT_THROW(bootstrap_mean({}, 1), Error);
}

BenchmarkResult some_result() {
  BenchmarkResult result;
  result.problems = 100;
  result.samples = 4;
  result.pass_at_1 = {0.5, 0.05, 0.4, 0.6};
  result.pass_at = {{1, result.pass_at_1}, {2, {0.7, 0.04, 0.6, 0.8}}, {4, {0.9, 0.03, 0.8, 1.0}}};
  result.majority = {0.625, 0.06, 0.5, 0.7};
  result.length = 12.34;
  return result;
}

// Columns of a table have one width, characters counted and not bytes; what was not measured is a dash.
TEST(BenchmarkSummary, AlignsItsTable) {
  const std::vector<NamedBenchmark> benchmarks{{"gsm8k", "jsonl:x", some_result()},
                                               {"arithmetic:level=4", "arithmetic:level=4", some_result()}};
  const std::string table = benchmark_table(benchmarks);
  EXPECT_NE(table.find("50.0 ± 5.0 | 90.0 ± 3.0 | 62.5 ± 6.0 |"), std::string::npos) << table;
  EXPECT_NE(table.find(" - |\n"), std::string::npos) << table;
  std::vector<std::size_t> widths;
  for (std::size_t at = 0; at < table.size(); at = table.find('\n', at) + 1) {
    std::size_t characters = 0;
    for (const char c : table.substr(at, table.find('\n', at) - at)) characters += (c & 0xC0) != 0x80 ? 1U : 0U;
    widths.push_back(characters);
  }
  ASSERT_EQ(widths.size(), 4U);
  for (const std::size_t width : widths) EXPECT_EQ(width, widths[0]) << table;
}

// The file for machines has every number, and null where there is none.
TEST(BenchmarkSummary, WritesJson) {
  const auto json = benchmark_json({"gsm8k", "jsonl:x", some_result()});
  EXPECT_EQ(json["pass@1"]["value"], 0.5);
  EXPECT_EQ(json["pass@k"]["2"]["high"], 0.8);
  EXPECT_EQ(json["maj@k"]["error"], 0.06);
  EXPECT_EQ(json["completion_length"], 12.34);
  EXPECT_TRUE(json["language_consistency"].is_null());
}

}  // namespace
}  // namespace athanor
