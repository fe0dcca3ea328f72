// Why a sampled completion does not become training data. Law: one completion has one reason, the first in this order,
// so that the counts add up to what was sampled.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace athanor {

enum class Rejection : std::uint8_t {
  truncated,       ///< cut short by the limit of tokens
  unreadable,      ///< its check cannot judge it
  wrong,           ///< by its check
  no_format,       ///< not in the form of a reasoning and an answer
  code_block,      ///< a fenced block of code in the reasoning
  too_long,        ///< in tokens, or a paragraph
  mixed_language,  ///< the reasoning leaves the language of the question
  repetitive,      ///< says the same again and again
  contaminated,    ///< shares an n-gram with a benchmark
  duplicate,       ///< the same conversation was kept already
  over_cap         ///< its problem has as many kept as it may
};

inline constexpr std::array<std::string_view, 11> kRejectionNames{
    "truncated",      "unreadable", "wrong",        "no_format", "code_block", "too_long",
    "mixed_language", "repetitive", "contaminated", "duplicate", "over_cap"};

inline std::string_view rejection_name(Rejection reason) { return kRejectionNames[static_cast<std::size_t>(reason)]; }

}  // namespace athanor
