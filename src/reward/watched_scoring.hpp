// Scores of one group by several rewards, from a thread of its own that is watched. Law: a reward that does not come
// back within the limit loses that sample (a group reward: that group) and nothing else: the thread is left behind with
// its own copy of everything, and another goes on with what is left to do.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "src/reward/reward_set.hpp"

namespace athanor {

/// @param limit_seconds  for one call of a reward. @returns parts[reward][sample]. Never throws what a reward threw.
std::vector<std::vector<RewardPart>> watched_scores(const std::vector<RewardSet::Member>& members,
                                                    std::span<const RewardSample> group, double limit_seconds);

}  // namespace athanor
