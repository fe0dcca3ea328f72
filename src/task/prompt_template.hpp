// The form in which a model is asked and answers: text templates for base models, and the layouts of chat models, which
// are made of special tokens (src/text/chat_template.hpp) and so have no text. Law: a completion begins right where the
// prompt ends, and the prompt is a prefix of every document made from it, so that what training shows is what
// reinforcement asks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/task/task.hpp"

namespace athanor {

enum class PromptTemplate : std::uint8_t {
  r1_zero,  ///< a sentence that explains the tags, then "User: ... Assistant:", as R1-Zero's (R1 paper, table 1)
  tags,     ///< the same tags without the sentence: for short sequences
  marks,    ///< "?PROMPT=" answered by "(thinking)>answer": four signs instead of the tags
  lines,  ///< the same, but the prompt ends its line: for tokenizers that would join "=" and what follows in one token
  r1,     ///< chat layouts from here on; r1: "{reasoning}\n</think>\n\n{summary}" behind a `<think>` of the prompt
  v3,
  chatml,
  llama3
};

/// "r1_zero", "tags", "marks", "lines", "r1", "v3", "chatml" or "llama3". @throws ConfigError
PromptTemplate parse_prompt_template(const std::string& name);
/// marks and lines.
bool has_marks(PromptTemplate form);
/// nullopt: a text template.
std::optional<ChatLayout> chat_layout_of(PromptTemplate form);

/// The conversation that a problem is: its messages, or its prompt as the user's.
std::vector<ChatMessage> conversation_of(const Problem& problem);
/// What an assistant says: the thinking as its reasoning, and a sentence in the problem's language with the answer:
/// "The answer is 16.", "答案是16。", and "#### 16" where problems are in signs alone.
ChatMessage assistant_message(const Problem& problem, const Solution& solution);

/// Of a text template. @throws Error for a chat layout.
std::string render_prompt(PromptTemplate form, const std::string& prompt);
/// Of a conversation its turns, the system's first; `marks` knows no turns and joins their texts.
std::string render_prompt(PromptTemplate form, const Problem& problem);
/// r1_zero and tags: what the `format` reward wants for a step-by-step solution; a direct one is the answer block
/// alone. @throws Error for a chat layout.
std::string render_completion(PromptTemplate form, const Solution& solution);

/// Whether a completion says something before its answer, in this template. v3, chatml, llama3: before the sentence
/// that states it.
bool thinks_first(PromptTemplate form, std::string_view completion);
/// Whether it has the form of a step-by-step solution to the sign: what the share of well-formed completions counts.
/// v3, chatml, llama3: whether it states an answer, without any tag.
bool is_well_formed(PromptTemplate form, std::string_view completion);

}  // namespace athanor
