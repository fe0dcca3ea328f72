// Text before it is cut into tokens: what surrounds an answer taken away, Unicode signs written as LaTeX, and the
// readings of an answer as plain text or as the letter of an option. Everything is linear in the text.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace athanor::math {

/// Without blanks at both ends.
std::string_view trim(std::string_view text);

/// Without what does not belong to the answer: blanks, $...$, \(...\), \[...\], a \boxed{...} around all of it, ** **,
/// quotation marks, full stops at the end.
std::string_view strip_wrappers(std::string_view text);

/// Unicode signs, Greek letters, full-width forms, fractions and raised digits as LaTeX or ASCII; other characters as
/// they are, ill-formed bytes as U+FFFD.
std::string unicode_to_latex(std::string_view text);

/// For comparison letter by letter: no blanks, no \left, \right, \text and the like, no spacing commands.
std::string plain_form(std::string_view text);

/// The text in lower case, words joined by one blank, when it is made of words (letters, marks, CJK characters; nothing
/// of mathematics) and has at least one of two letters or more.
std::optional<std::string> words_of(std::string_view text);

/// An answer that names an option: "(B)", "b)", "B.", "B: 12", "\text{(B)}", "Option B", or a letter A to J alone.
struct OptionLetter {
  char letter;  ///< 'A' to 'J'
  bool marked;  ///< more than the letter alone, so that it cannot be a variable
};
std::optional<OptionLetter> option_letter(std::string_view text);

/// Position of the brace that closes the one at `open`; npos when there is none. Braces behind a backslash do not
/// count.
std::size_t closing_brace(std::string_view text, std::size_t open);

}  // namespace athanor::math
