// The places of a text where an answer may stand: \boxed{...}, LaTeX environments, numbers. Each search is one pass.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace athanor::math {

struct Span {
  std::size_t begin, end;                  ///< with the marks around it
  std::size_t content_begin, content_end;  ///< without
  std::string_view content(std::string_view text) const {
    return text.substr(content_begin, content_end - content_begin);
  }
};

/// Every outermost \boxed{...} that is closed, and \boxed before a token without braces; in order.
std::vector<Span> boxed_spans(std::string_view text);

/// The environment that opens at text[position]: $...$ and \(...\) on one line, $$...$$, \[...\]. A '$' behind a digit
/// or a backslash does not open. Looks no further than 2000 bytes.
std::optional<Span> latex_span_at(std::string_view text, std::size_t position);

/// First environment at or behind `from`; last of the text.
std::optional<Span> first_latex_span(std::string_view text, std::size_t from);
std::optional<Span> last_latex_span(std::string_view text);

/// First or last plain number: behind the start, a blank, '=', '*', '$', '(', ':' or a character beyond ASCII; with
/// sign, separators of thousands, fraction, percent sign.
std::optional<Span> first_number(std::string_view text);
std::optional<Span> last_number(std::string_view text);

/// Whether a text that has a number is a sentence around it and no answer: words before the number without an equals
/// sign, or several behind it.
bool is_prose_with_number(std::string_view text);

}  // namespace athanor::math
