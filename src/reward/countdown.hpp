// Countdown: reach a target with each given number exactly once. Source: TinyZero's score (1 right, 0.1 an answer that
// is wrong or invalid, 0 none), without its loopholes: `**`, `//` and decimals are no arithmetic here, values are exact
// fractions, and the answer is the last one of the whole completion.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/reward/reward.hpp"

namespace athanor {

struct CountdownProblem {
  std::int64_t target = 0;
  std::vector<std::int64_t> numbers{};
};

/// "98 from 44 19 35", as references are written; nullopt for anything else.
std::optional<CountdownProblem> parse_countdown(std::string_view reference);
std::string countdown_text(const CountdownProblem& problem);

enum class CountdownVerdict : std::uint8_t { right, wrong, no_answer };
/// nullopt: the sample's reference is no countdown problem.
std::optional<CountdownVerdict> judge_countdown(const RewardSample& sample);

/// Whether `expression` (integers, + - * /, parentheses, blanks) is well formed, uses exactly the given numbers, and
/// its exact value is the target. Divisions need not come out even. Anything that does not fit 64 bits is refused.
bool reaches_target(std::string_view expression, const CountdownProblem& problem);

}  // namespace athanor
