// Where a completion says its answer. Law: one completion has at most one answer, and what it says elsewhere counts for
// nothing, so listing every possibility never pays.
#pragma once

#include <optional>
#include <string_view>

#include "src/reward/reward.hpp"

namespace athanor {

/// Without blanks and line breaks at both ends.
std::string_view trimmed_text(std::string_view text);

/// An answer said in a sentence: "The answer is 16.", "答案是16。", "#### 16", "\boxed{16}".
struct StatedAnswer {
  std::size_t sentence = 0;  ///< where the sentence begins that says it
  std::string_view answer;   ///< trimmed, without the full stop
};
/// The last box; else the last such sentence. nullopt: there is none.
std::optional<StatedAnswer> find_stated_answer(std::string_view text);

/// The content of the last whole `<answer>...</answer>`, trimmed. In R1's layout (a `</think>` and no other tag) what
/// the summary behind it states, or the summary itself where it is one line. Where the completion has no tag at all,
/// what it states in a sentence; but of the short template (it begins with '(' or '>', see task/prompt_template), and
/// where nothing is stated, what stands behind the last '>'. nullopt: it gives no answer.
std::optional<std::string_view> extract_answer(std::string_view completion);
/// Of a completion whose prompt may hold the opening tag (begins_in_thinking): never from its reasoning.
std::optional<std::string_view> extract_answer(const RewardSample& sample);
/// The part of a completion in which an answer may be looked for: all of it, or, where the sample begins in thinking,
/// from the last `</think>` on; nothing while it still thinks.
std::string_view part_with_answer(const RewardSample& sample);

/// The chain of thought: what stands before the last `</think>`, without the opening tag; in the short template what
/// stands in its outer parentheses. The whole completion where neither is found.
std::string_view extract_thinking(std::string_view completion);

}  // namespace athanor
