#include "src/reward/math_answer/answer_spans.hpp"

#include <algorithm>

#include "src/reward/math_answer/vocabulary.hpp"

namespace athanor::math {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_wide(char c) { return static_cast<unsigned char>(c) >= 0x80; }

constexpr std::string_view kBoxed = "\\boxed";
constexpr std::size_t kFarthest = 2000;  // of a closing mark from its opening one

/// The content of \boxed without braces, "\boxed 5": up to a blank or a mark.
Span bare_box(std::string_view text, std::size_t begin) {
  std::size_t from = begin + kBoxed.size();
  while (from < text.size() && text[from] == ' ') ++from;
  std::size_t to = from;
  while (to < text.size() && to < from + kFarthest && !is_blank(text[to]) && text[to] != '$') ++to;
  return {begin, to, from, to};
}

std::optional<std::size_t> number_end(std::string_view text, std::size_t begin) {
  std::size_t i = begin;
  const auto digits = [&] {
    const std::size_t from = i;
    while (i < text.size() && is_digit(text[i])) ++i;
    return i - from;
  };
  const auto followed_by_digit = [&](std::string_view signs) {
    return i + 1 < text.size() && signs.find(text[i]) != std::string_view::npos && is_digit(text[i + 1]);
  };
  if (i < text.size() && (text[i] == '-' || text[i] == '+')) ++i;
  const std::size_t whole = digits();
  while (whole > 0 && followed_by_digit(",")) ++i, digits();
  if (followed_by_digit(".")) ++i, digits();
  if (i == begin || !is_digit(text[i - 1])) return std::nullopt;
  if (followed_by_digit("/:")) ++i, digits();
  if (text.substr(i).starts_with("\\%")) return i + 2;
  if (i < text.size() && text[i] == '%') ++i;
  return i;
}

bool may_start_number(std::string_view text, std::size_t i) {
  if (!is_digit(text[i]) && text[i] != '-' && text[i] != '+' && text[i] != '.') return false;
  constexpr std::string_view kBefore = "=*$(:>";
  return i == 0 || is_blank(text[i - 1]) || is_wide(text[i - 1]) || kBefore.find(text[i - 1]) != std::string_view::npos;
}

}  // namespace

std::vector<Span> boxed_spans(std::string_view text) {
  struct Open {
    std::size_t begin, content;
    std::int64_t depth;
  };
  std::vector<Span> spans;
  std::vector<Open> open;
  std::int64_t depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\\') {
      if (text.substr(i).starts_with(kBoxed)) {
        std::size_t brace = i + kBoxed.size();
        while (brace < text.size() && text[brace] == ' ') ++brace;
        if (brace < text.size() && text[brace] == '{')
          open.push_back({i, brace + 1, depth});
        else if (open.empty() && brace < text.size())
          spans.push_back(bare_box(text, i));
        i = brace - 1;
      } else {
        ++i;
      }
    } else if (c == '{') {
      ++depth;
    } else if (c == '}') {
      --depth;
      while (!open.empty() && open.back().depth > depth) open.pop_back();
      if (open.empty() || open.back().depth != depth) continue;
      while (!spans.empty() && spans.back().begin > open.back().begin) spans.pop_back();
      spans.push_back({open.back().begin, i + 1, open.back().content, i});
      open.pop_back();
    }
  }
  return spans;
}

std::optional<Span> latex_span_at(std::string_view text, std::size_t position) {
  const std::string_view rest = text.substr(position, kFarthest);
  const auto closed_by = [&](std::string_view opener, std::string_view closer, bool one_line) -> std::optional<Span> {
    std::size_t end = opener.size();
    while (end < rest.size() && !rest.substr(end).starts_with(closer)) {
      if (one_line && rest[end] == '\n') return std::nullopt;
      end += rest[end] == '\\' ? 2 : 1;
    }
    if (end >= rest.size() || end == opener.size()) return std::nullopt;
    return Span{position, position + end + closer.size(), position + opener.size(), position + end};
  };
  if (rest.starts_with("\\(")) return closed_by("\\(", "\\)", true);
  if (rest.starts_with("\\[")) return closed_by("\\[", "\\]", false);
  if (!rest.starts_with('$') || (position > 0 && (is_digit(text[position - 1]) || text[position - 1] == '\\')))
    return std::nullopt;
  return rest.starts_with("$$") ? closed_by("$$", "$$", false) : closed_by("$", "$", true);
}

std::optional<Span> first_latex_span(std::string_view text, std::size_t from) {
  // Every '$' may look as far ahead as a span may reach: so few are tried that the pass stays linear.
  for (int tries = 0; tries < 16; ++tries) {
    from = text.find_first_of("$\\", from);
    if (from == std::string_view::npos) return std::nullopt;
    if (const auto span = latex_span_at(text, from)) return span;
    from += text[from] == '\\' ? 2 : 1;
  }
  return std::nullopt;
}

std::optional<Span> last_latex_span(std::string_view text) {
  constexpr std::size_t kFarthestFromEnd = 16 * kFarthest;
  const std::size_t skipped = text.size() > kFarthestFromEnd ? text.size() - kFarthestFromEnd : 0;
  std::optional<Span> last;
  for (std::size_t i = text.find_first_of("$\\", skipped); i < text.size(); i = text.find_first_of("$\\", i)) {
    const auto span = latex_span_at(text, i);
    if (span) last = span;
    i = span ? span->end : i + (text[i] == '\\' ? 2 : 1);
  }
  return last;
}

std::optional<Span> first_number(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i)
    if (may_start_number(text, i))
      if (const auto end = number_end(text, i)) return Span{i, *end, i, *end};
  return std::nullopt;
}

std::optional<Span> last_number(std::string_view text) {
  std::size_t i = text.find_last_of("0123456789");
  while (i < text.size()) {
    // Back over everything a number is made of, then on to its end.
    std::size_t begin = i;
    constexpr std::string_view kParts = "0123456789.,/:+-";
    while (begin > 0 && kParts.find(text[begin - 1]) != std::string_view::npos) --begin;
    for (std::size_t at = begin; at <= i; ++at)
      if (may_start_number(text, at))
        if (const auto end = number_end(text, at); end && *end > i) return Span{at, *end, at, *end};
    i = begin == 0 ? std::string_view::npos : text.find_last_of("0123456789", begin - 1);
  }
  return std::nullopt;
}

bool is_prose_with_number(std::string_view text) {
  const std::size_t number = text.find_first_of("0123456789");
  if (number == std::string_view::npos) return false;
  int before = 0, behind = 0;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i;
    while (end < text.size() && is_letter(text[end])) ++end;
    if (end == i && is_wide(text[i])) {
      while (end < text.size() && is_wide(text[end])) ++end;
      constexpr std::size_t kTwoCharacters = 6;  // "π" or "√" is a sign, "共有" a word
      if (end - i >= kTwoCharacters) ++(i < number ? before : behind);
    } else if (end > i) {
      constexpr std::size_t kShortestWord = 3;
      const bool command = i > 0 && text[i - 1] == '\\';
      if (end - i >= kShortestWord && !command && !plain_word(text.substr(i, end - i)))
        ++(i < number ? before : behind);
    }
    i = std::max(end, i + 1);
  }
  constexpr int kSeveral = 3;
  return (before > 0 && text.find('=') == std::string_view::npos) || behind >= kSeveral;
}

}  // namespace athanor::math
