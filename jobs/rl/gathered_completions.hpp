// Completions that several ranks wrote, on all of them.
#pragma once

#include <vector>

#include "parallel/host_group.hpp"
#include "parallel/rollout/rollout_engine.hpp"

namespace athanor {

/// The completions of every rank of `group`, by rank. Collective over `group`.
std::vector<std::vector<Completion>> gathered_completions(const std::vector<Completion>& mine, HostGroup& group);

}  // namespace athanor
