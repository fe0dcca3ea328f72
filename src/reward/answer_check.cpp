#include "src/reward/answer_check.hpp"

#include <vector>

#include "src/base/error.hpp"
#include "src/base/nearest_name.hpp"
#include "src/reward/answer_extraction.hpp"
#include "src/reward/countdown.hpp"
#include "src/reward/math_answer.hpp"

namespace athanor {
namespace {

std::string plain_form(std::string_view text) {
  constexpr std::string_view kFullStop = "。";
  text = trimmed_text(text);
  if (text.ends_with('.'))
    text.remove_suffix(1);
  else if (text.ends_with(kFullStop))
    text.remove_suffix(kFullStop.size());
  if (text.starts_with('+')) text.remove_prefix(1);
  std::string plain(trimmed_text(text));
  for (char& c : plain)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return plain;
}

/// In the short template what stands behind the mark is the answer, whatever '>' means elsewhere.
std::string_view text_with_answer(const RewardSample& sample) {
  const std::string_view completion = part_with_answer(sample);
  const bool is_short =
      completion.starts_with('>') || (completion.starts_with('(') && completion.find(")>") != completion.npos);
  return is_short ? extract_answer(completion).value_or(completion) : completion;
}

}  // namespace

bool give_same_text(const RewardSample& a, const RewardSample& b) {
  const auto first = extract_answer(a), second = extract_answer(b);
  return first && second && plain_form(*first) == plain_form(*second);
}

void AnswerChecks::add(std::string name, AnswerCheck check, AnswerAgreement agreement) {
  if (!checks_.try_emplace(name, Check{std::move(check), std::move(agreement)}).second)
    throw ConfigError("answer check " + name + " is added twice");
  if (default_.empty()) default_ = std::move(name);
}

void AnswerChecks::set_default(const std::string& name) {
  if (!checks_.contains(name)) throw ConfigError("answer check " + name + " is made the default but was not added");
  default_ = name;
}

const AnswerChecks::Check& AnswerChecks::check_of(const RewardSample& sample) const {
  const std::string& asked = sample.reward_name;
  const auto found = checks_.find(asked.empty() || asked == "accuracy" ? default_ : asked);
  if (found == checks_.end()) {
    std::vector<std::string> known{"accuracy"};
    for (const auto& [name, check] : checks_) known.push_back(name);
    throw ConfigError("a sample's reward " + unknown_name(asked, known));
  }
  return found->second;
}

std::optional<bool> AnswerChecks::is_right(const RewardSample& sample) const {
  return check_of(sample).is_right(sample);
}

bool AnswerChecks::give_same_answer(const RewardSample& a, const RewardSample& b) const {
  return check_of(a).agreement(a, b);
}

AnswerChecks all_answer_checks() {
  AnswerChecks checks;
  checks.add(
      "math", [](const RewardSample& sample) { return is_right_math_answer(text_with_answer(sample), sample.answer); },
      [](const RewardSample& a, const RewardSample& b) {
        const auto first = extract_math_answer(text_with_answer(a)), second = extract_math_answer(text_with_answer(b));
        return first && second && compare_math_answers(*first, *second) == MathVerdict::equal;
      });
  checks.add("exact", is_exact_answer);
  checks.add("countdown", [](const RewardSample& sample) -> std::optional<bool> {
    const auto verdict = judge_countdown(sample);
    if (!verdict) return std::nullopt;
    return *verdict == CountdownVerdict::right;
  });
  return checks;
}

std::optional<bool> is_exact_answer(const RewardSample& sample) {
  const std::string wanted = plain_form(sample.answer);
  if (wanted.empty()) return std::nullopt;
  const auto answer = extract_answer(sample);
  return answer && plain_form(*answer) == wanted;
}

}  // namespace athanor
