// The same scores on every rank that holds the same completions. Rewards that run programs measure time, so a program
// near its limit may pass on one rank and fail on another: ranks that compute one update together must not differ.
#pragma once

#include "jobs/rl/problem_scorer.hpp"
#include "parallel/host_group.hpp"

namespace athanor {

/// What rank 0 of `group` found becomes what all have. Collective over `group`; nothing to do for one rank.
/// @throws CollectiveMismatch when a rank holds another number of completions or rewards.
void share_scores(ScoredGroups& scored, HostGroup& group);

}  // namespace athanor
