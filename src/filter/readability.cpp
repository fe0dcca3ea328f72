#include "src/filter/readability.hpp"

#include <algorithm>
#include <string>

#include "src/reward/language_consistency.hpp"
#include "src/reward/repetition.hpp"
#include "src/text/utf8.hpp"

namespace athanor {
namespace {

/// Characters of the longest paragraph: what stands between line breaks.
std::int64_t longest_paragraph(std::string_view text) {
  std::int64_t longest = 0;
  for (;;) {
    const std::size_t end = text.find('\n');
    longest = std::max(longest, static_cast<std::int64_t>(count_characters(text.substr(0, end))));
    if (end == std::string_view::npos) return longest;
    text.remove_prefix(end + 1);
  }
}

bool keeps_language(const CompletionParts& parts, std::string_view language, double least) {
  RewardSample sample;
  sample.completion = parts.reasoning + "</think>";
  sample.language = language;
  return LanguageConsistencyReward().score(sample).value_or(1.0) >= least;
}

}  // namespace

std::optional<Rejection> readability_fault(const CompletionParts& parts, std::string_view language, std::int64_t tokens,
                                           const ReadabilityOptions& options) {
  if (parts.reasoning.empty() && !options.direct) return Rejection::no_format;
  if (!options.code_blocks && parts.reasoning.find("```") != std::string::npos) return Rejection::code_block;
  if (options.max_tokens > 0 && tokens > options.max_tokens) return Rejection::too_long;
  if (options.max_paragraph > 0 && longest_paragraph(parts.reasoning) > options.max_paragraph)
    return Rejection::too_long;
  if (!keeps_language(parts, language, options.min_language)) return Rejection::mixed_language;
  // Signs alone and unknown languages have few blanks or none: there a word is a run of letters or digits.
  const bool by_signs = language.empty() || language.starts_with("zh") || language.starts_with("ja");
  const RepeatedUnit unit = by_signs ? RepeatedUnit::signs : RepeatedUnit::words;
  for (const std::string& text : {parts.reasoning, parts.answer})
    if (repeated_ngram_share(text, options.repetition_ngram, unit) > options.max_repetition)
      return Rejection::repetitive;
  return std::nullopt;
}

}  // namespace athanor
