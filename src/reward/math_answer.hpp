// Is a mathematical answer right? Extraction of the answer from a completion, parsing of LaTeX and plain notation, and
// comparison by value. Laws:
//  * Pure: no clock, no random device, no locale, no state between calls, so every rank and every restart sees the same
//    verdict and threads need no lock. Work is bounded by a count of steps, never by a timer.
//  * Any bytes are an answer. What is too long, too deep or too costly is `unknown`, found out before it is expanded.
//  * A verdict is about values, not about one normal form: exact arithmetic modulo large primes where both sides are
//    rational, samples in double precision with error bounds elsewhere (math_answer/README.md says why).
// Source of the behaviour: Math-Verify 0.8.0; where this differs is written down in math_answer/README.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace athanor {

enum class MathVerdict : std::uint8_t {
  equal,
  different,
  unknown  ///< one of them cannot be read, or a limit was reached before it was decided
};

/// Bounds on one comparison. With the defaults it takes well under a second on one core, whatever the texts.
struct MathLimits {
  std::size_t max_bytes = 8192;         ///< of one answer; longer ones are compared as texts only
  std::size_t max_depth = 100;          ///< levels of grammar; a pair of parentheses takes two or three
  std::size_t max_nodes = 8192;         ///< of all expressions of one comparison together
  std::uint64_t max_steps = 1'000'000;  ///< elementary steps of evaluation and matching
};

/// Whether `candidate` says what `gold` says. Both are answers alone (no sentences); `$...$`, `\(...\)`, `\boxed{...}`
/// around them do not count. Symmetric but for one case: a pair such as (1, 2) is an open interval only where the gold
/// answer is a relation or an interval.
MathVerdict compare_math_answers(std::string_view gold, std::string_view candidate, const MathLimits& limits = {});

/// Whether `gold` can be an answer to compare with: it parses, is words, or names an option.
bool is_readable_math_answer(std::string_view gold, const MathLimits& limits = {});

/// The final answer of a completion, as text; boxed answers that stand together joined by ", ". Searched inside the
/// last whole `<answer>` block; else behind the last `</think>`; else everywhere. There, in this order, the rightmost
/// of a kind: `\boxed{...}`; "final answer is"; "####"; "answer is", "answer:"; "answer"; any LaTeX or number.
/// nullopt: there is none. Linear in the length of the completion; of more than 256 KiB only the end is looked at.
std::optional<std::string> extract_math_answer(std::string_view completion);

/// The reference inside a solution that ends in one ("... #### 42", "... \boxed{42}"); else all of it.
std::string gold_math_answer(std::string_view gold);

/// true: the completion's answer is equal to `gold`; false: it is not, or there is none, or that could not be decided;
/// nullopt: the gold answer cannot be read. `gold` may be an answer alone or a solution (see gold_math_answer).
std::optional<bool> is_right_math_answer(std::string_view completion, std::string_view gold,
                                         const MathLimits& limits = {});

}  // namespace athanor
