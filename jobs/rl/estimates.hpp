// Numbers for tables of benchmarks: pass@k and the error bars of means over problems. Law: pure; the same values and
// seed give the same bits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace athanor {

/// The chance that of k samples drawn from these n, of which c are right, one is right, without bias:
/// 1 - C(n - c, k) / C(n, k).   Source: Chen et al. 2021 (Codex, arXiv 2107.03374), section 2.1.
/// @throws Error unless 0 <= c <= n and 1 <= k <= n.
double pass_at_k(std::int64_t n, std::int64_t c, std::int64_t k);

struct Estimate {
  double value = 0.0;
  double error = 0.0;            ///< standard deviation of the mean over resamples
  double low = 0.0, high = 0.0;  ///< of resamples, 95 % lie between
};

inline constexpr std::int64_t kBootstrapResamples = 1000;

/// The mean of a number a problem, with errors from kBootstrapResamples draws of as many problems with replacement: the
/// same draws for every list of one length and seed, so differences of two metrics keep their pairs.
/// @throws Error for no values.   Source: Efron 1979.
Estimate bootstrap_mean(std::span<const double> values, std::uint64_t seed);

/// 1, 2, 4, ... below `samples`, then `samples`.
std::vector<std::int64_t> pass_at_counts(std::int64_t samples);

}  // namespace athanor
