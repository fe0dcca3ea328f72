// What a job's options ask of the planner. Law: the plan, the run's start-up lines and the measurements ask the same
// question.
#pragma once

#include "io/options/job_options.hpp"
#include "parallel/plan/layout_plan.hpp"

namespace athanor {

/// @param ranks  of the job; 0: the product of the axes of [parallel].
/// @throws ConfigError, DataError when parallel.schedule_file or parallel.layer_split cannot be read.
PlanQuestion layout_question(const JobOptions& options, std::int64_t ranks);

}  // namespace athanor
