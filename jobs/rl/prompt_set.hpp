// The kinds of prompts that an rl stage mixes, each with what its completions earn and from when on.
// Law: how many prompts of which kind a rollout asks follows from the options and the step alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/options/job_options.hpp"

namespace athanor {

struct PromptSetSpec {
  std::string tasks, rewards;
  double weight = 1.0;  ///< share of the prompts, relative to the other kinds
  double from = 0.0;    ///< fraction of the stage's steps before which it is left out
};

/// Of rl.prompts; where that is empty, rl.tasks with rl.rewards. A line of rl.prompts reads
/// "TASKS -> REWARDS | weight 0.5 | from 0.75". @throws ConfigError
std::vector<PromptSetSpec> prompt_sets(const RlOptions& options);

/// How many of `prompts` each kind has once `done` (a fraction) of the steps are taken: by weight, in multiples of
/// `granule`, one granule at least each where there are as many. @throws ConfigError where no kind has begun.
std::vector<std::int64_t> share_prompts(const std::vector<PromptSetSpec>& sets, std::int64_t prompts,
                                        std::int64_t granule, double done);

}  // namespace athanor
