#include "src/reward/math_answer/normalise.hpp"

#include <array>
#include <cctype>

#include "src/reward/math_answer/unicode_signs.hpp"

namespace athanor::math {
namespace {

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/// Commands that say how something looks, not what it is.
bool is_appearance(std::string_view command) {
  static constexpr std::array<std::string_view, 22> kCommands{
      "left",   "right", "text",         "textbf", "textit", "textrm",      "mathrm", "mathbf",
      "mathit", "mbox",  "quad",         "bigl",   "bigr",   "Bigl",        "Bigr",   "big",
      "Big",    "qquad", "displaystyle", "textup", "textsf", "operatorname"};
  for (const auto known : kCommands)
    if (command == known) return true;
  return false;
}

bool strip_pair(std::string_view& text, std::string_view open, std::string_view close) {
  if (text.size() < open.size() + close.size() || !text.starts_with(open) || !text.ends_with(close)) return false;
  const std::string_view inner = text.substr(open.size(), text.size() - open.size() - close.size());
  if (inner.find(open) != std::string_view::npos) return false;  // "$1$ and $2$" is not one pair
  text = inner;
  return true;
}

bool strip_command(std::string_view& text, std::string_view command) {
  if (!text.starts_with(command)) return false;
  const std::size_t open = text.find_first_not_of(" ", command.size());
  if (open == std::string_view::npos || text[open] != '{' || closing_brace(text, open) != text.size() - 1) return false;
  text = text.substr(open + 1, text.size() - open - 2);
  return true;
}

}  // namespace

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

std::size_t closing_brace(std::string_view text, std::size_t open) {
  std::size_t depth = 0;
  for (std::size_t i = open; i < text.size(); ++i) {
    if (text[i] == '\\')
      ++i;
    else if (text[i] == '{')
      ++depth;
    else if (text[i] == '}' && --depth == 0)
      return i;
  }
  return std::string_view::npos;
}

std::string_view strip_wrappers(std::string_view text) {
  constexpr std::string_view kFullStop = "。";
  constexpr int kMaxLayers = 8;  // each looks through the whole text
  for (int layer = 0; layer < kMaxLayers; ++layer) {
    text = trim(text);
    const std::size_t before = text.size();
    if (text.ends_with('.') && !text.ends_with(".."))
      text.remove_suffix(1);
    else if (text.ends_with(kFullStop))
      text.remove_suffix(kFullStop.size());
    else if (text.ends_with("\\\\"))
      text.remove_suffix(2);
    else if (!strip_pair(text, "$$", "$$") && !strip_pair(text, "$", "$") && !strip_pair(text, "\\(", "\\)") &&
             !strip_pair(text, "\\[", "\\]") && !strip_pair(text, "**", "**") && !strip_pair(text, "\"", "\"") &&
             !strip_pair(text, "`", "`"))
      strip_command(text, "\\boxed") || strip_command(text, "\\fbox") || strip_command(text, "\\displaystyle");
    if (text.size() == before) break;
  }
  return text;
}

std::string plain_form(std::string_view text) {
  std::string plain;
  plain.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (is_blank(text[i]) || text[i] == '~') continue;
    if (text[i] != '\\' || i + 1 == text.size()) {
      plain += text[i];
      continue;
    }
    if (!is_letter(text[i + 1])) {
      const char sign = text[++i];
      if (sign == ',' || sign == ';' || sign == '!' || sign == ':' || sign == ' ') continue;
      plain += '\\';
      plain += sign;
      continue;
    }
    std::size_t end = i + 1;
    while (end < text.size() && is_letter(text[end])) ++end;
    const std::string_view command = text.substr(i + 1, end - i - 1);
    if (!is_appearance(command)) {
      plain += '\\';
      plain += command == "dfrac" || command == "tfrac" ? "frac" : command;
      if (end < text.size() && is_blank(text[end])) plain += ' ';  // \pi r is not \pir
    }
    i = end - 1;
  }
  return plain;
}

std::optional<std::string> words_of(std::string_view text) {
  std::string words;
  std::size_t run = 0, longest = 0;
  bool gap = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool wide = static_cast<unsigned char>(c) >= 0x80;
    if (is_letter(c) || wide) {
      if (gap && !words.empty()) words += ' ';
      gap = false;
      words += static_cast<char>(wide ? c : std::tolower(c));
      longest = std::max(longest, ++run);
      continue;
    }
    run = 0;
    if (c == '\\') {
      std::size_t end = i + 1;
      while (end < text.size() && is_letter(text[end])) ++end;
      const std::string_view command = text.substr(i + 1, end - i - 1);
      if (command.empty() ? end >= text.size() || text[end] != ' ' : !is_appearance(command)) return std::nullopt;
      gap = true;
      i = command.empty() ? end : end - 1;
    } else if (is_blank(c) || c == '{' || c == '}' || c == '.' || c == ',' || c == '\'' || c == '-' || c == '!' ||
               c == '?' || c == '~' || c == ':' || c == '"') {
      gap = gap || (c != '{' && c != '}' && c != '\'');
    } else {
      return std::nullopt;
    }
  }
  if (longest < 2) return std::nullopt;
  return words;
}

std::optional<OptionLetter> option_letter(std::string_view text) {
  constexpr std::size_t kLongest = 400;  // an option and what it says
  if (text.size() > kLongest) return std::nullopt;
  std::string plain;
  for (const char c : plain_form(text))
    if (c != '{' && c != '}' && c != '*') plain += c;
  std::string_view rest = plain;
  bool marked = false;
  for (const std::string_view prefix : {"Option", "option", "Choice", "choice"})
    if (rest.starts_with(prefix)) rest.remove_prefix(prefix.size()), marked = true;
  const bool opened = rest.starts_with('(');
  if (opened) rest.remove_prefix(1);
  if (rest.empty()) return std::nullopt;
  const char letter = static_cast<char>(std::toupper(static_cast<unsigned char>(rest.front())));
  if (letter < 'A' || letter > 'J') return std::nullopt;
  rest.remove_prefix(1);
  if (rest.empty() && !opened) return OptionLetter{letter, marked};
  if (rest.empty()) return std::nullopt;
  if (rest.front() == ')' || (!opened && (rest.front() == '.' || rest.front() == ':')))
    return OptionLetter{letter, true};
  return std::nullopt;
}

std::string unicode_to_latex(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    if (static_cast<unsigned char>(text[i]) < 0x80) {
      out += text[i++];
      continue;
    }
    if (append_raised_digits(text, i, out)) continue;
    append_sign(text, i, out);
  }
  return out;
}

}  // namespace athanor::math
