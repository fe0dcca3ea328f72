#include "src/filter/r1_rewrite.hpp"

#include <fmt/format.h>

#include "src/reward/answer_extraction.hpp"
#include "src/reward/script.hpp"
#include "src/text/utf8.hpp"

namespace athanor {
namespace {

constexpr std::size_t kLongestPlainAnswer = 200;  ///< characters that fit in the sentence
constexpr std::string_view kChineseStop = "。";

bool is_chinese(std::string_view language) { return language.starts_with("zh"); }

/// One line: blanks at its ends gone, several in a row one.
std::string tidy_line(std::string_view line) {
  std::string tidy;
  for (const char c : trimmed_text(line)) {
    const bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
    if (!blank)
      tidy += c;
    else if (!tidy.ends_with(' '))
      tidy += ' ';
  }
  return tidy;
}

/// Signs alone, steps divided by ';' and no blank: "12+7=19;19-3=16".
bool is_row_of_steps(std::string_view text) {
  return text.find(';') != std::string_view::npos && text.find_first_of(" \t\n") == std::string_view::npos &&
         text.find("```") == std::string_view::npos;
}

/// "" where it has no letters.
std::string_view language_of_letters(std::string_view text) {
  std::string_view language;
  for (const char32_t c : to_code_points(text)) {
    if (script_of(c) == Script::han) return "zh";
    if (script_of(c) != Script::neutral) language = "en";
  }
  return language;
}

bool ends_sentence(std::string_view text) {
  for (const std::string_view end : {".", "!", "?", ":", "`", "。", "！", "？", "："})
    if (text.ends_with(end)) return true;
  return false;
}

}  // namespace

AssistantText own_words(const CompletionParts& parts) { return {parts.reasoning, parts.answer}; }

AssistantText rewrite_r1(const CompletionParts& parts, std::string_view language) {
  if (language.empty()) language = language_of_letters(parts.reasoning);
  return {tidy_reasoning(parts.reasoning, language),
          parts.layout == CompletionLayout::r1 ? parts.answer : summary_of(parts.answer, language)};
}

std::string tidy_reasoning(std::string_view reasoning, std::string_view language) {
  std::string steps(reasoning);
  if (is_row_of_steps(steps))
    for (char& c : steps)
      if (c == ';') c = '\n';
  const bool has_code = steps.find("```") != std::string::npos;  // whose blanks mean something
  std::string tidy;
  bool gap = false;
  for (std::string_view rest = trimmed_text(steps); !rest.empty();) {
    const std::size_t end = rest.find('\n');
    const std::string line = has_code ? std::string(rest.substr(0, end)) : tidy_line(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (line.empty() && !has_code) {
      gap = true;
      continue;
    }
    if (!tidy.empty()) tidy += gap ? "\n\n" : "\n";
    gap = false;
    tidy += line;
  }
  if (!tidy.empty() && !language.empty() && !ends_sentence(tidy)) tidy += is_chinese(language) ? kChineseStop : ".";
  return tidy;
}

std::string summary_of(std::string_view answer, std::string_view language) {
  answer = trimmed_text(answer);
  const bool plain = answer.find('\n') == std::string_view::npos && answer.find("```") == std::string_view::npos &&
                     count_characters(answer) <= kLongestPlainAnswer;
  if (!plain) return std::string(answer);
  if (language.empty()) return fmt::format("#### {}", answer);
  if (answer.ends_with(kChineseStop))
    answer.remove_suffix(kChineseStop.size());
  else if (answer.size() > 1 && answer.ends_with('.'))
    answer.remove_suffix(1);
  return is_chinese(language) ? fmt::format("答案是{}{}", answer, kChineseStop)
                              : fmt::format("The answer is {}.", answer);
}

}  // namespace athanor
