// Which curves a stage's metrics make: the one list of charts. To add one, a row there.
#pragma once

#include <vector>

#include "jobs/report/run_record.hpp"

namespace athanor {

/// Charts of what the stage measured, in the order of the list; none for metrics it has not.
std::vector<Chart> stage_charts(const StageRecord& stage);

}  // namespace athanor
