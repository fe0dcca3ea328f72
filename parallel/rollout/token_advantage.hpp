// Advantages of single tokens from a critic's values: PPO. T tokens of one completion.
// Law: the completion is one episode that ends with its last token: the value behind it is 0. All in f64.
// Sources: Schulman et al. 2015 (arXiv 1506.02438), generalised advantage estimation; Ouyang et al. 2022 (arXiv
// 2203.02155), the divergence per token in the reward; Ziegler et al. 2019 (arXiv 1909.08593), the adaptive
// coefficient.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace athanor {

/// r_t = -kl_beta * (logprob_t - ref_logprob_t), plus `score` at the last token. @param ref_logprobs  empty: no
/// divergence. @throws Error when there is no token or the counts differ.
std::vector<double> token_rewards(double score, std::span<const double> logprobs, std::span<const double> ref_logprobs,
                                  double kl_beta);

struct TokenAdvantages {
  std::vector<double> advantages;  ///< A_t = sum over l of (gamma lambda)^l delta_{t+l}
  std::vector<double> returns;     ///< A_t + V_t: what the critic learns
};
/// delta_t = r_t + gamma V_{t+1} - V_t. @param values  V_t before token t is chosen. @throws Error when the counts
/// differ.
TokenAdvantages generalized_advantages(std::span<const double> rewards, std::span<const double> values, double gamma,
                                       double lambda);

/// Sums over the tokens that count, of this rank or, once added up, of all.
struct MaskedSums {
  std::array<double, 3> numbers{};  ///< count, sum, sum of squares: one message over ranks

  void add(std::span<const double> values);
  double count() const { return numbers[0]; }
  double mean() const { return numbers[0] > 0.0 ? numbers[1] / numbers[0] : 0.0; }
  /// Divided by count - 1; 0 below two.
  double variance() const;
};

/// In place (x - mean) / sqrt(variance + 1e-8). @param shift_mean  false: the mean is put back (TRL's whitening of
/// rewards).
void whiten_tokens(std::span<double> values, const MaskedSums& sums, bool shift_mean = true);

/// Holds the divergence from the reference near a target: beta *= 1 + clip(KL / target - 1, -0.2, 0.2) * n / horizon.
class AdaptiveKl {
 public:
  /// @param target  0: beta is fixed. @throws ConfigError for numbers that are no such thing.
  AdaptiveKl(double beta, double target, double horizon = 10000.0);

  double beta() const { return beta_; }
  /// @param kl  mean over samples of the sum of k1 over a completion.   @param samples  since the last update.
  void update(double kl, std::int64_t samples);
  /// beta, exact, for a checkpoint; and from there. @throws DataError for no such text.
  std::string state() const;
  void restore(const std::string& state);

 private:
  double beta_, target_, horizon_;
};

}  // namespace athanor
