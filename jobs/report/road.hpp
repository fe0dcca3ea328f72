// The recipe as a diagram: a box a stage, lines by what it takes from earlier ones, marks where a stage evaluates it.
// Law: pure; the same run gives the same bytes. Boxes and marks lead to the sections of their stages. Colours are CSS
// classes, which the page decides.
#pragma once

#include <string>
#include <vector>

#include "jobs/report/run_record.hpp"

namespace athanor {

/// One or two lines on how far a stage is and how good: "pass@1 63.5 %", "held out 1.06" (a loss).
std::vector<std::string> headlines(const StageRecord& stage);

/// A <figure>; empty for a run of one stage.
std::string road_figure(const RunRecord& run);

}  // namespace athanor
