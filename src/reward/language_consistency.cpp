#include "src/reward/language_consistency.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "src/reward/answer_extraction.hpp"
#include "src/reward/script.hpp"
#include "src/text/utf8.hpp"

namespace athanor {
namespace {

/// How a language is written; languages of one script cannot be told apart here.
std::optional<Script> script_of_language(std::string_view language) {
  struct Row {
    Script script;
    std::string_view languages;  ///< ISO 639-1 codes, each between blanks
  };
  static constexpr std::array kRows{
      Row{Script::latin, " en de fr es it pt nl sv da no fi pl cs sk hu ro tr vi id ms sw la hr sl et lv lt "},
      Row{Script::han, " zh "},
      Row{Script::kana, " ja "},
      Row{Script::hangul, " ko "},
      Row{Script::greek, " el "},
      Row{Script::hebrew, " he "},
      Row{Script::cyrillic, " ru uk bg sr "},
      Row{Script::arabic, " ar fa "},
      Row{Script::thai, " th "},
      Row{Script::devanagari, " hi "}};
  // "zh-CN" is "zh".
  const std::string wanted = " " + std::string(language.substr(0, language.find_first_of("-_"))) + " ";
  if (wanted == "  ") return std::nullopt;
  for (const Row& row : kRows)
    if (row.languages.find(wanted) != std::string_view::npos) return row.script;
  return std::nullopt;
}

std::string without_tags(std::string_view text) {
  std::string plain;
  plain.reserve(text.size());
  while (!text.empty()) {
    std::size_t tag_bytes = 0;
    for (const std::string_view tag : {"<think>", "</think>", "<answer>", "</answer>"})
      if (text.starts_with(tag)) tag_bytes = tag.size();
    plain += tag_bytes > 0 ? ' ' : text.front();
    text.remove_prefix(std::max<std::size_t>(1, tag_bytes));
  }
  return plain;
}

bool is_apostrophe(char32_t c) { return c == U'\'' || c == U'\u2019'; }

}  // namespace

std::optional<double> LanguageConsistencyReward::score(const RewardSample& sample) const {
  const auto target = script_of_language(sample.language);
  if (!target) return std::nullopt;
  const std::u32string text = to_code_points(without_tags(extract_thinking(sample.completion)));
  std::int64_t words = 0, target_words = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const Script first = script_of(text[at++]);
    if (first == Script::neutral) continue;
    // Kanji and kana alternate within Japanese words: for that target they are one writing.
    const bool japanese = *target == Script::kana;
    while (at < text.size()) {
      const Script script = script_of(text[at]);
      const bool goes_on = script == first || (japanese && is_cjk(script) && is_cjk(first));
      const bool joins = is_apostrophe(text[at]) && at + 1 < text.size() && script_of(text[at + 1]) == first;
      if (!goes_on && !joins) break;
      ++at;
    }
    if (first == Script::latin) {
      if (begin > 0 && text[begin - 1] == U'\\') continue;
      if (at - begin == 1 && *target != Script::latin) continue;
    }
    ++words;
    if (first == *target || (japanese && is_cjk(first))) ++target_words;
  }
  if (words == 0) return std::nullopt;
  return static_cast<double>(target_words) / static_cast<double>(words);
}

}  // namespace athanor
