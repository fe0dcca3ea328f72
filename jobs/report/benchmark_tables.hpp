// What was solved, as tables: every model of the road beside the others, and one stage's benchmarks in full.
// Law: pure; shares in percent, errors are one standard error; what was not measured is "-".
#pragma once

#include <string>

#include "jobs/report/run_record.hpp"

namespace athanor {

/// A row a model in the order of the recipe: what each stage of kind evaluate measured stands for the stage its init
/// names; an rl stage that none measures has its own last held-out numbers. Empty where nothing was measured.
std::string models_table(const RunRecord& run);

/// Of a stage of kind evaluate; empty for others.
std::string benchmarks_table(const StageRecord& stage);

}  // namespace athanor
