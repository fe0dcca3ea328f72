// A right completion of R1-Zero in R1's layout: the reasoning as readable text, then a summary. The paper had a model
// (DeepSeek-V3) write both anew, in the first person, and people look at them (DeepSeek-R1, arXiv 2501.12948v2, cold
// start); here rules do it: they change how a solution looks and never what it says.
// Law: pure; rewriting twice changes nothing more.
#pragma once

#include <string>
#include <string_view>

#include "src/filter/completion_parts.hpp"

namespace athanor {

/// The two fields of an assistant's message (names of DeepSeek's API).
struct AssistantText {
  std::string reasoning_content;  ///< empty: none
  std::string content;
};

/// The parts as the model wrote them.
AssistantText own_words(const CompletionParts& parts);

/// The reasoning by tidy_reasoning, the answer by summary_of; a completion that has R1's layout already keeps its own
/// summary. @param language  of the question; empty: that of the reasoning's letters, Chinese or else English, and
/// none where it has no letter.
AssistantText rewrite_r1(const CompletionParts& parts, std::string_view language);

/// Lines without blanks at their ends or several in a row, paragraphs with one empty line between them, steps that only
/// ';' divides on lines of their own, and where there is a language a full stop at the end.
std::string tidy_reasoning(std::string_view reasoning, std::string_view language);

/// "The answer is 16.", "答案是16。" in Chinese, "#### 16" without a language (as src/task/prompt_template states
/// answers). An answer that is more than a line of text (a program, an
/// explanation), or longer than 200 characters, is a summary by itself.
std::string summary_of(std::string_view answer, std::string_view language);

}  // namespace athanor
