#include "src/reward/answer_format.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "src/reward/answer_extraction.hpp"

namespace athanor {
namespace {

std::size_t count(std::string_view text, std::string_view part) {
  std::size_t hits = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size())) ++hits;
  return hits;
}

/// Length of the digits that text begins with.
std::size_t leading_digits(std::string_view text) {
  return std::min(text.find_first_not_of("0123456789"), text.size());
}

/// Where the answer begins in a text of the two blocks; nullopt: it has not their form.
std::optional<std::size_t> begin_of_answer(std::string_view text) {
  constexpr std::string_view kBegin = "<think>\n", kMiddle = "\n</think>\n<answer>\n";
  if (!text.starts_with(kBegin)) return std::nullopt;
  // The first place for the middle leaves the most room for the end: no later one can do better.
  const std::size_t middle = text.find(kMiddle, kBegin.size());
  if (middle == std::string_view::npos) return std::nullopt;
  return middle + kMiddle.size();
}

/// Whether the last tag follows, with nothing behind it on its line.
bool answer_ends(std::string_view text, std::size_t from) {
  constexpr std::string_view kEnd = "\n</answer>";
  for (std::size_t end = text.find(kEnd, from); end != std::string_view::npos; end = text.find(kEnd, end + 1)) {
    const std::size_t after = end + kEnd.size();
    if (after == text.size() || text[after] == '\n') return true;
  }
  return false;
}

bool is_r1_answer(std::string_view text) {
  constexpr std::string_view kMiddle = "\n</think>\n\n";
  const std::size_t middle = text.find(kMiddle);
  return middle != std::string_view::npos && count(text, "</think>") == 1 && count(text, "<think>") == 0 &&
         !trimmed_text(text.substr(0, middle)).empty() && !trimmed_text(text.substr(middle + kMiddle.size())).empty();
}

}  // namespace

std::optional<double> FormatReward::score(const RewardSample& sample) const {
  if (layout_ == AnswerLayout::r1) return is_r1_answer(sample.completion) ? 1.0 : 0.0;
  const auto from = begin_of_answer(sample.completion);
  return from && answer_ends(sample.completion, *from) ? 1.0 : 0.0;
}

std::optional<double> CodeFormatReward::score(const RewardSample& sample) const {
  const std::string_view text = sample.completion;
  std::string language = language_.empty() ? sample.code_language : language_;
  if (language.empty()) language = "python";
  const auto answer = begin_of_answer(text);
  if (!answer) return 0.0;
  // The first places leave the most room for what has to follow.
  const std::string opening = "```" + language;
  const std::size_t fence = text.find(opening, *answer);
  if (fence == std::string_view::npos) return 0.0;
  const std::size_t closing = text.find("```", fence + opening.size());
  return closing != std::string_view::npos && answer_ends(text, closing + 3) ? 1.0 : 0.0;
}

std::optional<double> TagCountReward::score(const RewardSample& sample) const {
  constexpr std::array<std::string_view, 4> kTags{"<think>\n", "\n</think>\n", "\n<answer>\n", "\n</answer>"};
  double score = 0.0;
  for (const std::string_view tag : kTags)
    if (count(sample.completion, tag) == 1) score += 0.25;
  return score;
}

std::optional<double> ReasoningStepsReward::score(const RewardSample& sample) const {
  const std::string_view text = sample.completion;
  std::size_t hits = 0;
  for (const std::string_view sign : {"\n-", "\n*", "First,", "Second,", "Next,", "Finally,"})
    hits += count(text, sign);
  if (const std::size_t digits = leading_digits(text); digits > 0 && text.substr(digits).starts_with('.')) ++hits;
  constexpr std::string_view kStep = "Step ";
  for (std::size_t at = text.find(kStep); at != std::string_view::npos; at = text.find(kStep, at + 1)) {
    const std::string_view number = text.substr(at + kStep.size());
    const std::size_t digits = leading_digits(number);
    if (digits > 0 && number.substr(digits).starts_with(':')) ++hits;
  }
  return std::min(1.0, static_cast<double>(hits) / 3.0);
}

}  // namespace athanor
