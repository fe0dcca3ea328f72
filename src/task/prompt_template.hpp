// The form in which a base model is asked and answers. Law: a completion begins right where the prompt ends, and the
// prompt is a prefix of every document made from it, so that what pre-training shows is what reinforcement asks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "src/task/task.hpp"

namespace athanor {

enum class PromptTemplate : std::uint8_t {
  r1_zero,  ///< a sentence that explains the tags, then "User: ... Assistant:", as R1-Zero's (R1 paper, table 1)
  tags,     ///< the same tags without the sentence: for short sequences
  marks     ///< "?PROMPT=" answered by "(thinking)>answer": four signs instead of the tags
};

/// "r1_zero", "tags" or "marks". @throws ConfigError
PromptTemplate parse_prompt_template(const std::string& name);

std::string render_prompt(PromptTemplate form, const std::string& prompt);
/// Of a conversation its turns, the system's first; `marks` knows no turns and joins their texts.
std::string render_prompt(PromptTemplate form, const Problem& problem);
/// r1_zero and tags: what the `format` reward wants for a step-by-step solution; a direct one is the answer block
/// alone.
std::string render_completion(PromptTemplate form, const Solution& solution);

/// Whether a completion says something before its answer, in this template.
bool thinks_first(PromptTemplate form, std::string_view completion);
/// Whether it has the form of a step-by-step solution to the sign: what the share of well-formed completions counts.
bool is_well_formed(PromptTemplate form, std::string_view completion);

}  // namespace athanor
