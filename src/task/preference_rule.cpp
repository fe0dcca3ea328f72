#include "src/task/preference_rule.hpp"

#include <algorithm>

#include "src/task/polite_phrases.hpp"
#include "src/text/utf8.hpp"

namespace athanor {
namespace {

bool is_word_byte(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool stands_in(std::string_view text, std::string_view answer) {
  if (answer.empty()) return false;
  for (std::size_t at = text.find(answer); at != std::string_view::npos; at = text.find(answer, at + 1)) {
    const std::size_t end = at + answer.size();
    const bool begins = at == 0 || !is_word_byte(text[at - 1]) || !is_word_byte(answer.front());
    const bool ends = end == text.size() || !is_word_byte(text[end]) || !is_word_byte(answer.back());
    if (begins && ends) return true;
  }
  return false;
}

template <class Phrases>
bool has_one_of(std::string_view text, const Phrases& phrases) {
  return std::any_of(phrases.begin(), phrases.end(),
                     [&](std::string_view phrase) { return text.find(phrase) != std::string_view::npos; });
}

}  // namespace

bool is_polite(std::string_view text) {
  return has_one_of(text, kPoliteEnglish) || has_one_of(text, kPoliteChinese) || has_one_of(text, kPoliteSigns);
}

bool is_free_of(std::string_view text, std::string_view word) {
  return std::search(text.begin(), text.end(), word.begin(), word.end(),
                     [](char a, char b) { return lower(a) == lower(b); }) == text.end();
}

double HelpfulRule::points(const Problem& problem, std::string_view content) const {
  const bool is_brief = std::ssize(to_code_points(content)) <= brief_length;
  return (stands_in(content, problem.answer) ? right : 0.0) + (is_polite(content) ? polite : 0.0) +
         (is_brief ? brief : 0.0);
}

AnswerLengths answer_lengths(const std::vector<Preference>& preferences, bool whole) {
  AnswerLengths sums;
  double good = 0.0, bad = 0.0;
  const auto add = [&](const PreferredAnswer& answer, bool is_good) {
    const double length = static_cast<double>(answer.content.size() + (whole ? answer.reasoning.size() : 0));
    (is_good ? sums.good : sums.bad) += length;
    (is_good ? good : bad) += 1.0;
  };
  for (const Preference& preference : preferences) {
    for (std::size_t a = 0; a < preference.labels.size(); ++a) add(preference.answers[a], preference.labels[a] > 0.5);
    for (std::size_t a = 0; a < preference.scores.size(); ++a)
      for (std::size_t b = 0; b < preference.scores.size(); ++b)
        if (preference.scores[a] > preference.scores[b]) {
          add(preference.answers[a], true);
          add(preference.answers[b], false);
        }
  }
  return {good > 0.0 ? sums.good / good : 0.0, bad > 0.0 ? sums.bad / bad : 0.0};
}

}  // namespace athanor
