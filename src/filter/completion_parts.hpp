// A completion taken apart into what it thinks and what it answers. Law: strict where the answer checks are lenient: a
// text that could be read in two ways (a tag twice, an end before its beginning) has no parts, for what is learned from
// must be clear.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace athanor {

/// In what form a completion came.
enum class CompletionLayout : std::uint8_t {
  marks,  ///< "(thinking)>answer" (src/task/prompt_template)
  tags,   ///< "<think>...</think><answer>...</answer>": R1-Zero's
  r1      ///< "reasoning\n</think>\n\nsummary": R1's, whose prompt ends with the opening tag
};

/// Both without white space at their ends.
struct CompletionParts {
  CompletionLayout layout = CompletionLayout::tags;
  std::string reasoning;  ///< empty: answered directly
  std::string answer;     ///< never empty; of `r1` the summary
};

/// nullopt: the completion is in none of the layouts, gives no answer, or is no UTF-8.
std::optional<CompletionParts> split_completion(std::string_view completion);

}  // namespace athanor
