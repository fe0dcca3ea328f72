#include "src/task/wording.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <sstream>

namespace athanor {

Wording wording_of(const Problem& problem) {
  return problem.language == "en" ? Wording::english : problem.language == "zh" ? Wording::chinese : Wording::symbols;
}

std::string calculation(Wording wording, const std::vector<std::string>& steps) {
  if (wording == Wording::symbols) return fmt::format("{}", fmt::join(steps, ";"));
  std::string text;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (wording == Wording::english)
      text += fmt::format("{}{} {}.", i == 0 ? "" : " ", i == 0 ? "First," : "Then", steps[i]);
    else
      text += fmt::format("{}{}。", i == 0 ? "先算" : "再算", steps[i]);
  }
  return text;
}

std::string enumeration(Wording wording, const std::vector<std::string>& parts) {
  return fmt::format("{}", fmt::join(parts, in_words(wording, ", ", "、", ",")));
}

std::vector<std::string> sentences_of(std::string_view text) {
  constexpr std::string_view kStop = "。";
  std::vector<std::string> sentences;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    std::size_t end = std::string_view::npos;
    if (text.substr(at).starts_with(kStop)) end = at + kStop.size();
    if (text[at] == '.' && (at + 1 == text.size() || text[at + 1] == ' ')) end = at + 1;
    if (end == std::string_view::npos) continue;
    sentences.emplace_back(text.substr(begin, end - begin));
    begin = end < text.size() && text[end] == ' ' ? end + 1 : end;
    at = begin - 1;
  }
  if (begin < text.size()) sentences.emplace_back(text.substr(begin));
  return sentences;
}

std::string joined_sentences(const std::vector<std::string>& sentences) {
  std::string text;
  for (const std::string& sentence : sentences) {
    if (!text.empty() && !text.ends_with("。")) text += ' ';
    text += sentence;
  }
  return text;
}

std::vector<std::string> split_words(std::string_view text) {
  std::istringstream in{std::string(text)};
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

std::int64_t missed_value(std::int64_t value, Draw& slip) {
  constexpr std::array<std::int64_t, 8> kMisses{-10, -3, -2, -1, 1, 2, 3, 10};
  return value + slip.one_of(kMisses);
}

}  // namespace athanor
