#include "jobs/rl/objectives.hpp"

#include <map>

#include "src/base/error.hpp"

namespace athanor {

Objective objective_of(const std::string& name) {
  static const std::map<std::string, Objective> known = {
      {"grpo", {PolicyObjective::clipped, PolicyWeights::by_sample, AdvantageKind::group, false}},
      {"dr_grpo", {PolicyObjective::clipped, PolicyWeights::by_length, AdvantageKind::mean_only, false}},
      {"dapo", {PolicyObjective::clipped, PolicyWeights::by_token, AdvantageKind::group, false}},
      {"bnpo", {PolicyObjective::clipped, PolicyWeights::by_token, AdvantageKind::group, false}},
      {"gspo", {PolicyObjective::gspo, PolicyWeights::by_sample, AdvantageKind::group, false}},
      {"cispo", {PolicyObjective::cispo, PolicyWeights::by_token, AdvantageKind::group, false}},
      {"rloo", {PolicyObjective::clipped, PolicyWeights::by_token, AdvantageKind::rloo, false}},
      {"ppo", {PolicyObjective::clipped, PolicyWeights::by_token, AdvantageKind::mean_only, true, true}},
      {"reinforce++", {PolicyObjective::clipped, PolicyWeights::by_token, AdvantageKind::mean_only, true}}};
  const auto found = known.find(name);
  if (found != known.end()) return found->second;
  std::string names;
  for (const auto& [key, value] : known) names += (names.empty() ? "" : ", ") + key;
  throw ConfigError("rl.objective = " + name + ": wanted one of " + names);
}

}  // namespace athanor
