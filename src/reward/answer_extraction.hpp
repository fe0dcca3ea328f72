// Where a completion says its answer. Law: one completion has at most one answer, and what it says elsewhere counts for
// nothing, so listing every possibility never pays.
#pragma once

#include <optional>
#include <string_view>

namespace athanor {

/// Without blanks and line breaks at both ends.
std::string_view trimmed_text(std::string_view text);

/// The content of the last whole `<answer>...</answer>`, trimmed. Where the completion has no tag at all (the short
/// template, see task/prompt_template), what stands behind its last '>'. nullopt: it gives no answer.
std::optional<std::string_view> extract_answer(std::string_view completion);

/// The chain of thought: what stands before the last `</think>`, without the opening tag; in the short template what
/// stands in its outer parentheses. The whole completion where neither is found.
std::string_view extract_thinking(std::string_view completion);

}  // namespace athanor
