#include "src/reward/reward_set.hpp"

#include "src/base/error.hpp"
#include "src/reward/watched_scoring.hpp"

namespace athanor {
void RewardTally::add(const RewardPart& part) {
  switch (part.fault) {
    case RewardFault::none:
      ++scored;
      sum += *part.value;
      break;
    case RewardFault::cannot_score:
      ++cannot_score;
      break;
    case RewardFault::threw:
      ++threw;
      break;
    case RewardFault::not_finite:
      ++not_finite;
      break;
    case RewardFault::timed_out:
      ++timed_out;
      break;
  }
}

RewardSet::RewardSet(std::string_view specs, const RewardRegistry& registry) {
  for (const NamedSpec& spec : parse_named_specs(specs, "reward")) {
    for (const Member& member : members_)
      if (member.name == spec.name) throw ConfigError("reward '" + spec.text + "': " + spec.name + " is given twice");
    members_.push_back({spec.name, spec.weight, registry.make(spec)});
  }
}

RewardSet::Begun RewardSet::begin(std::span<const RewardSample> samples) const {
  Begun begun;
  for (const Member& member : members_) {
    try {
      begun.push_back(member.reward->begin(samples));
    } catch (const std::exception&) {  // the call that asks for the score meets it again, and is where it counts
    }
  }
  return begun;
}

std::vector<RewardResult> RewardSet::score_group(std::span<const RewardSample> group) const {
  auto parts = watched_scores(members_, group, limit_seconds_);
  std::vector<RewardResult> results(group.size());
  for (std::size_t i = 0; i < group.size(); ++i)
    for (std::size_t m = 0; m < members_.size(); ++m) {
      RewardPart& part = parts[m][i];
      if (part.value) results[i].total = results[i].total.value_or(0.0) + members_[m].weight * *part.value;
      results[i].parts.push_back(std::move(part));
    }
  return results;
}

}  // namespace athanor
