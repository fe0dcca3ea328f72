#include "jobs/rl/reward_input.hpp"

namespace athanor {

std::string_view final_part(PromptTemplate form, std::string_view completion) {
  if (form == PromptTemplate::marks) {
    const std::size_t end = completion.rfind(")>");
    return completion.starts_with('(') && end != std::string_view::npos ? completion.substr(end + 1) : completion;
  }
  constexpr std::string_view kThinkEnd = "</think>";
  const std::size_t end = completion.rfind(kThinkEnd);
  if (end == std::string_view::npos) return completion;
  completion.remove_prefix(end + kThinkEnd.size());
  completion.remove_prefix(std::min(completion.find_first_not_of('\n'), completion.size()));
  return completion;
}

ScoredSequence RewardInput::sequence(const Problem& problem, std::string_view completion) const {
  ScoredSequence sequence;
  if (behind_eos_) sequence.prompt.push_back(tokenizer_.eos_id());
  tokenizer_.encode(render_prompt(form_, problem), sequence.prompt);
  tokenizer_.encode(reads_ == RewardReads::final ? final_part(form_, completion) : completion, sequence.completion,
                    {.replace_invalid = true});
  sequence.completion.push_back(tokenizer_.eos_id());
  return sequence;
}

ScoredSequence RewardInput::sequence(const Problem& problem, const PreferredAnswer& answer) const {
  const bool whole = reads_ == RewardReads::whole;
  return sequence(problem, render_completion(form_, {whole ? answer.reasoning : std::string(), answer.content}));
}

}  // namespace athanor
