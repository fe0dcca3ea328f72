// What the files of a run folder say of the job that is at work in it, of the stage under way in particular. Law: only
// files are read, so another process or another machine may look; only the ends of those that grow, so a look costs
// the same after a million steps.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "jobs/job_state.hpp"
#include "jobs/report/run_record.hpp"

namespace athanor {

struct LiveRecord {
  RunRecord run;                      ///< the stage under way has the metrics of its last steps, the others none
  std::optional<JobState> job;        ///< nothing: no job has said
  std::optional<std::size_t> now;     ///< the stage under way: the last that has begun and is not complete
  StageGoal goal;                     ///< of that stage; total 0: not known
  std::string checkpoint;             ///< its newest: "step_00000100"; empty: none
  double checkpoint_seconds = 0.0;    ///< unix time of it
  std::vector<std::string> warnings;  ///< the last ones, oldest first

  const StageRecord* stage() const { return now ? &run.stages[*now] : nullptr; }
};

/// @throws ConfigError when the folder holds no run.
LiveRecord read_live(const std::filesystem::path& folder);

}  // namespace athanor
