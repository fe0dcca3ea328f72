#include "src/reward/reward_set.hpp"

#include <fmt/format.h>

#include <cmath>

#include "src/base/error.hpp"

namespace athanor {
namespace {

RewardPart checked(std::optional<double> score) {
  if (!score) return {std::nullopt, RewardFault::cannot_score};
  if (!std::isfinite(*score)) return {std::nullopt, RewardFault::not_finite};
  return {score, RewardFault::none};
}

RewardPart thrown() {
  try {
    throw;
  } catch (const std::exception& error) {
    return {std::nullopt, RewardFault::threw, error.what()};
  } catch (...) {
    return {std::nullopt, RewardFault::threw, "an unknown exception"};
  }
}

std::vector<RewardPart> parts_of(const Reward& reward, std::span<const RewardSample> group) {
  std::vector<RewardPart> parts;
  parts.reserve(group.size());
  if (!reward.needs_group()) {
    for (const RewardSample& sample : group) {
      try {
        parts.push_back(checked(reward.score(sample)));
      } catch (...) {
        parts.push_back(thrown());
      }
    }
    return parts;
  }
  try {
    const auto scores = reward.score_group(group);
    if (scores.size() != group.size())
      throw Error(fmt::format("gave {} scores for a group of {}", scores.size(), group.size()));
    for (const auto& score : scores) parts.push_back(checked(score));
  } catch (...) {
    parts.assign(group.size(), thrown());
  }
  return parts;
}

}  // namespace

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
  }
}

RewardSet::RewardSet(std::string_view specs, const RewardRegistry& registry) {
  for (const NamedSpec& spec : parse_named_specs(specs, "reward")) {
    for (const Member& member : members_)
      if (member.name == spec.name) throw ConfigError("reward '" + spec.text + "': " + spec.name + " is given twice");
    members_.push_back({spec.name, spec.weight, registry.make(spec)});
  }
}

std::vector<RewardResult> RewardSet::score_group(std::span<const RewardSample> group) const {
  std::vector<RewardResult> results(group.size());
  for (const Member& member : members_) {
    std::vector<RewardPart> parts = parts_of(*member.reward, group);
    for (std::size_t i = 0; i < group.size(); ++i) {
      if (parts[i].value) results[i].total = results[i].total.value_or(0.0) + member.weight * *parts[i].value;
      results[i].parts.push_back(std::move(parts[i]));
    }
  }
  return results;
}

}  // namespace athanor
