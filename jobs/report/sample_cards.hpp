// Completions to read: what a model wrote before an update, on a benchmark, or for data, and why it was not kept.
// Law: pure; whatever a model wrote stands there as text.
#pragma once

#include <string>

#include "jobs/report/run_record.hpp"

namespace athanor {

/// Of rl the completions of the first, the middle and the last rollout; of others the first ones.
std::string sample_cards(const StageRecord& stage);

/// Of a stage that samples data: bars of what was kept and what was rejected, by reason, and a few conversations kept.
/// Empty for others.
std::string sampling_figure(const StageRecord& stage);

}  // namespace athanor
