// Whether a run folder and the configuration given now belong together. Law: what is finished is never told anew. A
// stage that is complete must be asked for as it was run; one that is not may go on with other options, and each is
// named.
#pragma once

#include <string>
#include <vector>

#include "io/options/configuration.hpp"
#include "jobs/run_folder.hpp"

namespace athanor {

/// Collective. Compares with the folder's config.resolved.cfg, if there is one; how and where the run is executed
/// ([parallel], and [run] but for steps, seed and dtype), and sections that a stage's kind does not read, may always
/// change.
/// @returns the options that changed for stages still to run, "STAGE: key: before -> now".
/// @throws ConfigError on every rank when a complete stage is asked for with other options, naming each.
std::vector<std::string> check_same_run(const Configuration& now, const RunFolder& folder, HostGroup& ranks);

}  // namespace athanor
