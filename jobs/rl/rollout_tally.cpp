#include "jobs/rl/rollout_tally.hpp"

#include <algorithm>

namespace athanor {

void RolloutTally::add(const DrawnProblems& drawn, const ScoredGroups& scored, std::size_t i,
                       std::span<const std::size_t> rewards) {
  const Completion& completion = drawn.completions[i];
  const RewardResult& result = scored.results[i];
  sums_[kCompletions] += 1.0;
  sums_[kLength] += static_cast<double>(completion.tokens.size());
  sums_[kTruncated] += completion.end == Completion::End::length ? 1.0 : 0.0;
  sums_[kThinks] += scored.thinks[i] ? 1.0 : 0.0;
  if (scored.right[i]) {
    sums_[kChecked] += 1.0;
    sums_[kRight] += *scored.right[i] ? 1.0 : 0.0;
  }
  if (result.total) {
    sums_[kScored] += 1.0;
    sums_[kReward] += *result.total;
  }
  for (std::size_t r = 0; r < result.parts.size(); ++r)
    if (result.parts[r].value) {
      sums_[kNumSums + 2 * rewards[r]] += *result.parts[r].value;
      sums_[kNumSums + 2 * rewards[r] + 1] += 1.0;
    }
}

void RolloutTally::add_group(const GroupAdvantages& advantages) {
  sums_[kGroups] += 1.0;
  sums_[kFlatGroups] += advantages.zero_spread ? 1.0 : 0.0;
  sums_[kUnscored] += static_cast<double>(advantages.unscored);
}

RolloutStatistics RolloutTally::statistics(HostGroup& world, bool counts, double seconds) {
  if (!counts) std::fill(sums_.begin(), sums_.end(), 0.0);
  world.sum(std::span(sums_));
  const auto mean = [&](std::size_t sum, std::size_t count) {
    return sums_[count] > 0.0 ? sums_[sum] / sums_[count] : 0.0;
  };
  RolloutStatistics result;
  result.reward = mean(kReward, kScored);
  result.accuracy = mean(kRight, kChecked);
  result.thinking = mean(kThinks, kCompletions);
  result.length = mean(kLength, kCompletions);
  result.truncated = mean(kTruncated, kCompletions);
  result.zero_spread_groups = mean(kFlatGroups, kGroups);
  result.unscored = mean(kUnscored, kCompletions);
  result.kl = mean(kDivergence, kMeasured);
  for (std::size_t at = kNumSums; at < sums_.size(); at += 2) result.rewards.push_back(mean(at, at + 1));
  result.completions = static_cast<std::int64_t>(sums_[kCompletions]);
  result.groups = static_cast<std::int64_t>(sums_[kGroups]);
  result.seconds = world.max(seconds);
  result.tokens_per_second = sums_[kTokens] / result.seconds;
  return result;
}

}  // namespace athanor
