// What a rule prefers: stand-ins, exact and cheap, for the judges of DeepSeek-R1's reward models (helpful: the final
// answer alone; safety: the whole output, reasoning included).
#pragma once

#include <string>
#include <string_view>

#include "src/task/preference.hpp"

namespace athanor {

/// Points of a final answer: for being right, polite and short.
struct HelpfulRule {
  double right = 2.0, polite = 1.0, brief = 1.0;
  std::int64_t brief_length = 48;  ///< characters that still are short

  /// Sum of the points earned. Right: the problem's answer stands in it, between other signs than letters and digits.
  double points(const Problem& problem, std::string_view content) const;
};

/// Whether one of the polite phrases is in the text (English, Chinese, or ":)").
bool is_polite(std::string_view text);
/// Whether the word is nowhere in the text, whatever its case (ASCII).
bool is_free_of(std::string_view text, std::string_view word);

}  // namespace athanor
