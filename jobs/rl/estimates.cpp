#include "jobs/rl/estimates.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "src/base/error.hpp"
#include "src/base/rng.hpp"

namespace athanor {

double pass_at_k(std::int64_t n, std::int64_t c, std::int64_t k) {
  if (c < 0 || c > n || k < 1 || k > n)
    throw Error(
        fmt::format("pass@{}: wanted 1 <= k <= samples and right ones among them, found {} of {} right", k, c, n));
  if (n - c < k) return 1.0;
  double all_wrong = 1.0;
  for (std::int64_t i = n - c + 1; i <= n; ++i) all_wrong *= 1.0 - static_cast<double>(k) / static_cast<double>(i);
  return 1.0 - all_wrong;
}

Estimate bootstrap_mean(std::span<const double> values, std::uint64_t seed) {
  if (values.empty()) throw Error("bootstrap: there is no value");
  const auto count = static_cast<std::uint64_t>(values.size());
  double sum = 0.0;
  for (const double value : values) sum += value;
  Estimate estimate{.value = sum / static_cast<double>(count)};
  std::vector<double> means;
  for (std::uint64_t r = 0; r < kBootstrapResamples; ++r) {
    const Philox random(seed, RandomPurpose::bootstrap, r);
    double resampled = 0.0;
    for (std::uint64_t i = 0; i < count; i += 4) {
      const auto words = random.words(i / 4);
      for (std::uint64_t w = 0; w < std::min<std::uint64_t>(4, count - i); ++w)
        resampled += values[words[w] * count >> 32];
    }
    means.push_back(resampled / static_cast<double>(count));
  }
  std::sort(means.begin(), means.end());
  double mean = 0.0, squares = 0.0;
  for (const double value : means) mean += value;
  mean /= static_cast<double>(means.size());
  for (const double value : means) squares += (value - mean) * (value - mean);
  estimate.error = std::sqrt(squares / static_cast<double>(means.size() - 1));
  estimate.low = means[means.size() / 40];
  estimate.high = means[means.size() - 1 - means.size() / 40];
  return estimate;
}

std::vector<std::int64_t> pass_at_counts(std::int64_t samples) {
  std::vector<std::int64_t> counts;
  for (std::int64_t k = 1; k < samples; k *= 2) counts.push_back(k);
  counts.push_back(samples);
  return counts;
}

}  // namespace athanor
