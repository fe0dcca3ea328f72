#include "src/reward/answer_format.hpp"

#include <algorithm>
#include <array>
#include <string_view>

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

}  // namespace

std::optional<double> FormatReward::score(const RewardSample& sample) const {
  constexpr std::string_view kBegin = "<think>\n", kMiddle = "\n</think>\n<answer>\n", kEnd = "\n</answer>";
  const std::string_view text = sample.completion;
  if (!text.starts_with(kBegin)) return 0.0;
  // The first place for the middle leaves the most room for the end: no later one can do better.
  const std::size_t middle = text.find(kMiddle, kBegin.size());
  if (middle == std::string_view::npos) return 0.0;
  for (std::size_t end = text.find(kEnd, middle + kMiddle.size()); end != std::string_view::npos;
       end = text.find(kEnd, end + 1)) {
    const std::size_t after = end + kEnd.size();
    if (after == text.size() || text[after] == '\n') return 1.0;
  }
  return 0.0;
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
