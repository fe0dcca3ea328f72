// What a reward model reads of a prompt and an answer: the same tokens when it learns and when it scores.
// Law: a sequence is the prompt in its template, the answer as that template renders it, and the end of the document.
// `final`: the reasoning is left out, as DeepSeek-R1's helpful reward model sees the summary alone; `whole`:
// everything, as its safety model does (Nature 2025, supplement).
#pragma once

#include <string_view>

#include "jobs/rl/learned_reward.hpp"
#include "src/task/preference.hpp"
#include "src/task/prompt_template.hpp"
#include "src/text/tokenizer.hpp"

namespace athanor {

enum class RewardReads : std::uint8_t { final, whole };

class RewardInput {
 public:
  /// @param tokenizer  must outlive this.   @param behind_eos  a prompt begins behind the end of another document, as
  /// in packed pre-training.
  RewardInput(PromptTemplate form, RewardReads reads, bool behind_eos, const Tokenizer& tokenizer)
      : form_(form), reads_(reads), behind_eos_(behind_eos), tokenizer_(tokenizer) {}

  ScoredSequence sequence(const Problem& problem, const PreferredAnswer& answer) const;
  /// Of a completion as the policy wrote it, without its end token.
  ScoredSequence sequence(const Problem& problem, std::string_view completion) const;

 private:
  PromptTemplate form_;
  RewardReads reads_;
  bool behind_eos_;
  const Tokenizer& tokenizer_;
};

/// What stands behind the reasoning of a completion: behind the last `</think>`, or in the short template from the `>`
/// that follows its parentheses; all of it where there is none.
std::string_view final_part(PromptTemplate form, std::string_view completion);

}  // namespace athanor
