// Cuts an answer into tokens. One pass, linear; LaTeX and plain notation end in the same tokens (\le and <=, \cdot and
// *, \sin and sin), commands that only place or decorate are dropped.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace athanor::math {

/// How commas between digits are read. The comparison tries the readings that make a difference.
struct Reading {
  bool thousands = true;       ///< 1,000 is a thousand (otherwise: 1 and 0)
  bool decimal_comma = false;  ///< 1000,99 has a fraction (otherwise: 1000 and 99)
};

enum class TokenKind : std::uint8_t {
  number,  ///< digits with at most one point, perhaps e and an exponent; separators of thousands are gone
  letter,  ///< one variable: "x", "\\alpha"
  name,    ///< a known function, constant or construct: "sin", "pi", "frac", "begin"
  word,    ///< letters that make no product of variables: "apples", "东"
  text,    ///< content of \text{...} and its like, \begin{...} excepted
  sign,    ///< everything else, in one spelling: "<=", "*", "\\{", "and"
  end
};

struct Token {
  TokenKind kind = TokenKind::end;
  std::string text{};
  bool space_before = false;
  std::string
      run{};  ///< first letter of several written together: all of them; name "begin" and "end": the environment
};

/// Tokens of `text` (well-formed, see unicode_to_latex), with one of kind `end` behind them.
/// @throws Unreadable for braces of \text or \begin that do not close.
std::vector<Token> tokenize(std::string_view text, const Reading& reading);

/// Whether a comma between digits makes the readings differ.
bool has_ambiguous_comma(std::string_view text);

/// Names of functions of one argument, as written in plain text and LaTeX ("arcsin" and "asin" come out as "asin").
std::string_view known_function(std::string_view name);

}  // namespace athanor::math
