// A penalty for saying the same again and again. Source: open-r1 rewards.py, after Yeo et al. 2025 (arXiv 2502.03373),
// appendix B.
#pragma once

#include <string_view>

#include "src/reward/reward.hpp"

namespace athanor {

/// What a word is when repetitions are counted.
enum class RepeatedUnit : std::uint8_t {
  words,  ///< what stands between blanks, ASCII letters in lower case
  signs   ///< every Chinese character, every run of letters and digits, every other sign: for writing without blanks
};

/// 1 - different n-grams / n-grams; 0 for fewer than n words. @param ngram_size  at least 1.
double repeated_ngram_share(std::string_view text, int ngram_size, RepeatedUnit unit);

/// max_penalty * repeated_ngram_share; by signs where `sample.language` is Chinese ("zh").
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
