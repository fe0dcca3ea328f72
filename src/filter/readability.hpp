// Is a completion fit to be read, and so to be learned from? Source: DeepSeek-R1 (arXiv 2501.12948v2), cold start and
// section on the 800k set: repetition and language-mixing filters; chains of thought with mixed languages, long
// paragraphs and code blocks are dropped. The paper prints no thresholds; those here are reasoned beside each.
// Law: pure; time linear in the text (n-grams: times its logarithm).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "src/filter/completion_parts.hpp"
#include "src/filter/rejection.hpp"

namespace athanor {

struct ReadabilityOptions {
  /// Completions without a reasoning are fit too. Off: a cold start is there to show how to think.
  bool direct = false;
  /// Blocks of code may stand in the reasoning. Off, as in the paper; in answers they always may.
  bool code_blocks = false;
  /// Tokens of a completion; 0: as many as were sampled. The paper names no number beside the context.
  std::int64_t max_tokens = 0;
  /// Characters of a paragraph of the reasoning; 0: any. About a page without a break: nobody reads on.
  std::int64_t max_paragraph = 2000;
  /// Share of the words of the reasoning that are in the question's language. One word in ten may be a name or a term;
  /// below that it changes language in mid-sentence. Not asked where the question has no language.
  double min_language = 0.9;
  /// Share of repeated n-grams (repeated_ngram_share) of this many words in the reasoning or the answer. Beside the
  /// 15 % of repeated 5-grams that Gopher's filter of web text allows (arXiv 2112.11446, table A1) a solution needs
  /// some room, for it writes equations again when it checks them; a loop of three rounds has 66 %.
  int repetition_ngram = 5;
  double max_repetition = 0.2;
};

/// What is wrong with it, the first of no_format (no reasoning), code_block, too_long, mixed_language and repetitive;
/// nullopt: nothing. @param language  of the question ("en", "zh"); empty: none. @param tokens  of the completion.
std::optional<Rejection> readability_fault(const CompletionParts& parts, std::string_view language, std::int64_t tokens,
                                           const ReadabilityOptions& options);

}  // namespace athanor
