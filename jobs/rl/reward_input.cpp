#include "jobs/rl/reward_input.hpp"

#include "src/filter/completion_parts.hpp"
#include "src/text/chat_template.hpp"
#include "src/text/utf8.hpp"

namespace athanor {

ScoredSequence RewardInput::sequence(const Problem& problem, const PreferredAnswer& answer) const {
  const bool whole = reads_ == RewardReads::whole;
  ScoredSequence sequence;
  if (const auto layout = chat_layout_of(form_)) {
    const ChatTemplate chat(!whole && *layout == ChatLayout::r1 ? ChatLayout::v3 : *layout, tokenizer_);
    std::vector<ChatMessage> messages = conversation_of(problem);
    sequence.prompt = chat.prompt(messages);
    messages.push_back({"assistant", answer.content, whole ? answer.reasoning : std::string()});
    const auto ids = chat.training(messages).ids;
    sequence.completion.assign(ids.begin() + std::ssize(sequence.prompt), ids.end());
    return sequence;
  }
  if (behind_eos_) sequence.prompt.push_back(tokenizer_.eos_id());
  tokenizer_.encode(render_prompt(form_, problem), sequence.prompt);
  tokenizer_.encode(render_completion(form_, {whole ? answer.reasoning : std::string(), answer.content}),
                    sequence.completion, {.replace_invalid = true});
  sequence.completion.push_back(tokenizer_.eos_id());
  return sequence;
}

ScoredSequence RewardInput::sequence(const Problem& problem, std::string_view completion,
                                     bool begins_in_thinking) const {
  std::string text = replace_invalid_utf8(completion);  // a policy may write any bytes
  if (const auto parts = split_completion(text))
    return sequence(problem, PreferredAnswer{parts->answer, parts->reasoning});
  constexpr const char* kNothing = " ";  // an answer has a token at least
  if (begins_in_thinking && text.find("</think>") == std::string::npos)
    return sequence(problem, PreferredAnswer{kNothing, std::move(text)});
  return sequence(problem, PreferredAnswer{text.empty() ? kNothing : std::move(text)});
}

}  // namespace athanor
