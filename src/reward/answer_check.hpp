// Is the answer right? One named check a kind of answer; `accuracy`, `cosine` and `length` ask through AnswerChecks and
// never compare answers themselves.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "src/reward/reward.hpp"

namespace athanor {

/// @returns whether the completion's answer is right; nullopt when the reference cannot be read.
using AnswerCheck = std::function<std::optional<bool>(const RewardSample&)>;

class AnswerChecks {
 public:
  /// @throws ConfigError for a name that is taken.
  void add(std::string name, AnswerCheck check);
  /// Asked where a sample names no check, or "accuracy". @throws ConfigError for a name that is not there.
  void set_default(const std::string& name);
  /// By the check that `sample.reward_name` names. @throws ConfigError for an unknown name, listing the known.
  std::optional<bool> is_right(const RewardSample& sample) const;

 private:
  std::map<std::string, AnswerCheck, std::less<>> checks_;
  std::string default_;
};

/// The checks of this folder: `exact` and `countdown`; exact is the default.
AnswerChecks all_answer_checks();

/// The extracted answer and the reference are the same text up to blanks at the ends, ASCII case, a '+' in front and
/// one full stop at the end. "05" is not "5": digit tasks ask for digits. nullopt when the sample has no reference.
std::optional<bool> is_exact_answer(const RewardSample& sample);

}  // namespace athanor
