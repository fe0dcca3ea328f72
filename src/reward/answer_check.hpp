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
/// @returns whether two completions of one prompt give the same answer; false where one of them gives none.
using AnswerAgreement = std::function<bool(const RewardSample&, const RewardSample&)>;

/// The extracted answers are the same text, as is_exact_answer() compares it.
bool give_same_text(const RewardSample& a, const RewardSample& b);

class AnswerChecks {
 public:
  /// @throws ConfigError for a name that is taken.
  void add(std::string name, AnswerCheck check, AnswerAgreement agreement = give_same_text);
  /// Asked where a sample names no check, or "accuracy". @throws ConfigError for a name that is not there.
  void set_default(const std::string& name);
  /// By the check that `sample.reward_name` names. @throws ConfigError for an unknown name, listing the known.
  std::optional<bool> is_right(const RewardSample& sample) const;
  /// Whether two completions give the same answer, by the check that `a.reward_name` names: what a majority vote
  /// counts. Not always transitive (0.3333333 is 1/3 and 0.333333, which are not each other): compare with one of a
  /// cluster.
  bool give_same_answer(const RewardSample& a, const RewardSample& b) const;

 private:
  struct Check {
    AnswerCheck is_right;
    AnswerAgreement agreement;
  };
  const Check& check_of(const RewardSample& sample) const;

  std::map<std::string, Check, std::less<>> checks_;
  std::string default_;
};

/// The checks of this folder: `math` (math_answer.hpp), the default; `exact`; `countdown`.
AnswerChecks all_answer_checks();

/// The extracted answer and the reference are the same text up to blanks at the ends, ASCII case, a '+' in front and
/// one full stop at the end. "05" is not "5": digit tasks ask for digits. nullopt when the sample has no reference.
std::optional<bool> is_exact_answer(const RewardSample& sample);

}  // namespace athanor
