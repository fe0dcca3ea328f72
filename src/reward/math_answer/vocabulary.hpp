// The words of mathematics: what LaTeX commands and plain words stand for.
#pragma once

#include <optional>
#include <string_view>

#include "src/reward/math_answer/tokenizer.hpp"

namespace athanor::math {

struct Meaning {
  TokenKind kind;  ///< `end`: the command only places or decorates
  std::string_view text;
};

/// What \command stands for; nullopt when it is not known.
std::optional<Meaning> latex_command(std::string_view command);

/// What a run of letters in plain text stands for; nullopt: variables or a word.
std::optional<Meaning> plain_word(std::string_view run);

/// The function name that a run like "sinx" begins with, at most two letters before its end; empty: none.
std::string_view leading_function(std::string_view run);

/// \text, \mathrm and their like, whose argument is text.
bool is_text_command(std::string_view command);

}  // namespace athanor::math
