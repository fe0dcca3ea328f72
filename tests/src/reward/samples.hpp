// Short ways to ask one reward about one text.
#pragma once

#include <optional>
#include <string>

#include "src/reward/registry.hpp"

namespace athanor {

inline RewardSample completion(std::string text, std::string answer = "", std::string language = "en") {
  RewardSample sample;
  sample.completion = std::move(text);
  sample.answer = std::move(answer);
  sample.language = std::move(language);
  return sample;
}

/// A check that knows no mathematics: right when the completion begins with 'r', unreadable reference when it is "?".
inline AnswerChecks toy_checks() {
  AnswerChecks checks;
  checks.add("toy", [](const RewardSample& sample) -> std::optional<bool> {
    if (sample.answer == "?") return std::nullopt;
    return sample.completion.starts_with('r');
  });
  return checks;
}

inline std::unique_ptr<Reward> make_reward(std::string_view spec, AnswerChecks checks = toy_checks()) {
  RewardRegistry registry;
  register_all_rewards(registry, std::move(checks));
  return registry.make(spec);
}

inline std::optional<double> score(std::string_view spec, const RewardSample& sample) {
  return make_reward(spec)->score(sample);
}

/// For texts that always have a score.
inline double scored(std::string_view spec, const std::string& text, const std::string& language = "en") {
  return score(spec, completion(text, "", language)).value();
}

}  // namespace athanor
