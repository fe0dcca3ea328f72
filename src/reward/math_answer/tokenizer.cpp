#include "src/reward/math_answer/tokenizer.hpp"

#include <algorithm>
#include <cctype>

#include "src/reward/math_answer/expression.hpp"
#include "src/reward/math_answer/normalise.hpp"
#include "src/reward/math_answer/vocabulary.hpp"

namespace athanor::math {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::size_t digits_end(std::string_view text, std::size_t i) {
  while (i < text.size() && is_digit(text[i])) ++i;
  return i;
}

/// Three digits and no more at text[i].
bool is_group_of_three(std::string_view text, std::size_t i) { return digits_end(text, i) == i + 3; }

class Cutter {
 public:
  Cutter(std::string_view text, const Reading& reading) : text_(text), reading_(reading) {}

  std::vector<Token> cut() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (is_blank(c) || c == '~')
        ++at_, space_ = true;
      else if (is_digit(c) || (c == '.' && at_ + 1 < text_.size() && is_digit(text_[at_ + 1])))
        cut_number();
      else if (is_letter(c))
        cut_letters();
      else if (static_cast<unsigned char>(c) >= 0x80)
        cut_foreign();
      else if (c == '\\')
        cut_command();
      else
        cut_sign();
    }
    push(TokenKind::end, "");
    return std::move(tokens_);
  }

 private:
  void push(TokenKind kind, std::string_view text, std::string_view run = {}) {
    tokens_.push_back(Token{kind, std::string(text), space_, std::string(run)});
    space_ = false;
  }

  /// Length of a separator of thousands at text_[i], 0 when there is none.
  std::size_t separator_at(std::size_t i) const {
    const std::string_view rest = text_.substr(i);
    for (const std::string_view separator : {"{,}", "\\,", "\\ ", "\\!", " ", "~"})
      if (rest.starts_with(separator) && is_group_of_three(text_, i + separator.size())) return separator.size();
    if (rest.starts_with(",\\!") && is_group_of_three(text_, i + 3)) return 3;
    if (reading_.thousands && rest.starts_with(',') && is_group_of_three(text_, i + 1)) return 1;
    return 0;
  }

  void cut_number() {
    std::size_t i = digits_end(text_, at_);
    std::string number(text_.substr(at_, i - at_));
    if (number.size() <= 3 && !number.empty()) {
      std::size_t separator = separator_at(i);
      // One kind of separator throughout: "1 000 000", "1,000,000".
      const std::string_view kind = text_.substr(i, separator);
      while (separator > 0 && text_.substr(i, separator) == kind) {
        number += text_.substr(i + separator, 3);
        i += separator + 3;
        separator = separator_at(i);
      }
    }
    if (i + 1 < text_.size() && text_[i] == '.' && is_digit(text_[i + 1])) {
      const std::size_t end = digits_end(text_, i + 1);
      number += text_.substr(i, end - i);
      i = end;
    } else if (reading_.decimal_comma && i + 1 < text_.size() && text_[i] == ',' && is_digit(text_[i + 1])) {
      const std::size_t end = digits_end(text_, i + 1);
      number += '.';
      number += text_.substr(i + 1, end - i - 1);
      i = end;
    } else if (text_.substr(i).starts_with(".\\overline") || text_.substr(i).starts_with(".\\dot")) {
      number += text_[i++];  // 0.\overline{3}
    } else if (i < text_.size() && text_[i] == '.' && (i + 1 == text_.size() || is_blank(text_[i + 1]))) {
      ++i;  // "5." ends a sentence
    }
    if (i + 1 < text_.size() && (text_[i] == 'e' || text_[i] == 'E')) {
      const std::size_t sign = text_[i + 1] == '-' || text_[i + 1] == '+' ? 1 : 0;
      const std::size_t end = digits_end(text_, i + 1 + sign);
      if (end > i + 1 + sign && (end == text_.size() || !is_letter(text_[end]))) {
        number += 'e';
        number += text_.substr(i + 1, end - i - 1);
        i = end;
      }
    }
    at_ = i;
    push(TokenKind::number, number);
  }

  void cut_letters() {
    std::size_t end = at_;
    while (end < text_.size() && is_letter(text_[end])) ++end;
    const std::string_view run = text_.substr(at_, end - at_);
    at_ = end;
    push_letters(run);
  }

  void push_letters(std::string_view run) {
    if (const auto known = plain_word(run)) {
      push(known->kind, known->text);
      return;
    }
    if (const std::string_view head = leading_function(run); !head.empty()) {
      push(TokenKind::name, known_function(head));
      push_letters(run.substr(head.size()));
      return;
    }
    constexpr std::size_t kLongestProduct = 3;
    if (run.size() > kLongestProduct) {
      push(TokenKind::word, run);
      return;
    }
    for (std::size_t i = 0; i < run.size(); ++i)
      push(TokenKind::letter, run.substr(i, 1), i == 0 && run.size() > 1 ? run : std::string_view{});
  }

  void cut_foreign() {
    std::size_t end = at_;
    while (end < text_.size() && static_cast<unsigned char>(text_[end]) >= 0x80) ++end;
    const std::string_view run = text_.substr(at_, end - at_);
    at_ = end;
    if (run == "和" || run == "或" || run == "或者")
      push(TokenKind::sign, run == "和" ? "and" : "or");
    else if (run == "€" || run == "£" || run == "¥")
      space_ = true;  // an amount is compared as a number
    else
      push(TokenKind::word, run);
  }

  std::string_view braced_content(std::string_view command) {
    std::size_t open = at_;
    while (open < text_.size() && is_blank(text_[open])) ++open;
    if (open == text_.size() || text_[open] != '{') return {};
    const std::size_t close = closing_brace(text_, open);
    if (close == std::string_view::npos)
      throw Unreadable("the brace after \\" + std::string(command) + " does not close");
    at_ = close + 1;
    return text_.substr(open + 1, close - open - 1);
  }

  void cut_command() {
    if (++at_ == text_.size()) return;
    if (!is_letter(text_[at_])) {
      const char c = text_[at_++];
      if (c == '$' || c == ',' || c == ';' || c == '!' || c == ':' || c == ' ' || is_blank(c))
        space_ = true;
      else if (c == '\\')
        push(TokenKind::sign, "\\\\");
      else if (c == '{' || c == '}')
        push(TokenKind::sign, c == '{' ? "\\{" : "\\}");
      else if (c == '%' || c == '&')
        push(TokenKind::sign, std::string_view(&c, 1));
      else if (c == '|')
        push(TokenKind::sign, "|");
      return;
    }
    std::size_t end = at_;
    while (end < text_.size() && is_letter(text_[end])) ++end;
    const std::string_view command = text_.substr(at_, end - at_);
    at_ = end;
    if (is_text_command(command)) {
      push_text(trim(braced_content(command)), command);
    } else if (command == "begin" || command == "end") {
      push(TokenKind::name, command, braced_content(command));
      if (command == "begin" && tokens_.back().run == "array") braced_content("begin{array}");
    } else if (command == "mathbb" || command == "Bbb") {
      push_number_set(trim(braced_content(command)));
    } else if (const auto known = latex_command(command)) {
      if (known->kind == TokenKind::end)
        space_ = true;
      else
        push(known->kind, known->text);
    } else {
      push(TokenKind::letter, "\\" + std::string(command));
    }
  }

  void push_text(std::string_view content, std::string_view command) {
    if (content.empty()) {
      space_ = true;
    } else if (const auto known = plain_word(content); known && known->kind == TokenKind::sign) {
      push(TokenKind::sign, known->text);
    } else if (command == "operatorname" && !known_function(content).empty()) {
      push(TokenKind::name, known_function(content));
    } else if ((command == "mathrm" || command == "mathit") && (content == "d" || content == "e" || content == "i")) {
      push(TokenKind::letter, content);
    } else {
      push(TokenKind::text, content);
    }
  }

  void push_number_set(std::string_view letter) {
    if (letter.empty() && at_ < text_.size()) letter = text_.substr(at_++, 1);
    if (letter == "R")
      push(TokenKind::name, "reals");
    else
      push(TokenKind::letter, "\\mathbb{" + std::string(letter) + "}");
  }

  void cut_sign() {
    const std::string_view rest = text_.substr(at_);
    if (rest.starts_with("+/-")) {
      at_ += 3;
      push(TokenKind::sign, "+-");
      return;
    }
    for (const std::string_view two : {"<=", ">=", "!=", "==", "**", "->"})
      if (rest.starts_with(two)) {
        at_ += 2;
        push(TokenKind::sign, two == "==" ? "=" : two == "**" ? "^" : two);
        return;
      }
    ++at_;
    if (rest.front() == '$')
      space_ = true;  // the sign of a currency, or around LaTeX
    else
      push(TokenKind::sign, rest.substr(0, 1));
  }

  std::string_view text_;
  Reading reading_;
  std::size_t at_ = 0;
  bool space_ = false;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view text, const Reading& reading) { return Cutter(text, reading).cut(); }

bool has_ambiguous_comma(std::string_view text) {
  for (std::size_t i = 1; i + 1 < text.size(); ++i)
    if (text[i] == ',' && is_digit(text[i - 1]) && is_digit(text[i + 1])) return true;
  return false;
}

}  // namespace athanor::math
