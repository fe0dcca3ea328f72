// A penalty for saying the same again and again. Source: open-r1 rewards.py, after Yeo et al. 2025 (arXiv 2502.03373),
// appendix B.
#pragma once

#include "src/reward/reward.hpp"

namespace athanor {

/// max_penalty * (1 - different n-grams / n-grams); 0 for fewer than n words. Words are what stands between blanks,
/// ASCII letters in lower case; where `sample.language` is Chinese ("zh"), every Chinese character is a word, runs of
/// letters and digits are, and other signs are one each.
class RepetitionPenalty final : public Reward {
 public:
  /// @param max_penalty  at most 0 (ConfigError). @param ngram_size  at least 1.
  RepetitionPenalty(int ngram_size, double max_penalty);
  std::optional<double> score(const RewardSample& sample) const override;

 private:
  const int ngram_size_;
  const double max_penalty_;
};

}  // namespace athanor
