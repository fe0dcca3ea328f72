// What a reward model reads of a prompt and an answer: the same tokens when it learns and when it scores.
// Laws
//  * A sequence is the prompt in the reward model's template, the answer as that template renders it, and its end.
//  * `final`: the reasoning is left out, as DeepSeek-R1's helpful reward model sees the summary alone; `whole`:
//    everything, as its safety model does (Nature 2025, supplement). Without its reasoning an answer of layout r1 is
//    one of v3.
//  * Completions may come in any template: they are taken apart, not copied.
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
  /// @param form  of the reward model.   @param tokenizer  must outlive this.   @param behind_eos  a prompt of a text
  /// template begins behind the end of another document, as in packed pre-training.
  RewardInput(PromptTemplate form, RewardReads reads, bool behind_eos, const Tokenizer& tokenizer)
      : form_(form), reads_(reads), behind_eos_(behind_eos), tokenizer_(tokenizer) {}

  ScoredSequence sequence(const Problem& problem, const PreferredAnswer& answer) const;
  /// Of a completion as a policy wrote it, without its end token; what cannot be taken apart is all answer.
  /// @param begins_in_thinking  the prompt holds the opening tag: a reasoning that never ends is no answer.
  ScoredSequence sequence(const Problem& problem, std::string_view completion, bool begins_in_thinking = false) const;

 private:
  PromptTemplate form_;
  RewardReads reads_;
  bool behind_eos_;
  const Tokenizer& tokenizer_;
};

}  // namespace athanor
