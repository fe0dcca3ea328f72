// Does the chain of thought keep to one language? R1's reward: words of the target language over all words.
// Source: DeepSeek-R1 (arXiv 2501.12948v2, section 3.2.1), which leaves open how words are counted; here: a word is a
// run of letters; where writing has no blanks between words (Chinese, Japanese) a run of such characters is one word.
// Digits, symbols, the tags and LaTeX commands are no words in any language.
#pragma once

#include "src/reward/reward.hpp"

namespace athanor {

/// Share of the words of the thinking (the whole completion where it has none) that are written in the script of
/// `sample.language`; single Latin letters count as symbols (A, x) where that script is another. nullopt when the
/// language is empty or not known here, and when there is no word: a reward for saying nothing would be sought out.
class LanguageConsistencyReward final : public Reward {
 public:
  std::optional<double> score(const RewardSample& sample) const override;
};

}  // namespace athanor
