// What a run folder says of the job for who looks at it from elsewhere. job.json: whether a job is at work in it. Law:
// written by rank 0 when a job begins and when it ends; a job that was killed leaves "running", with the process that
// is gone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace athanor {

struct JobState {
  enum class Is : std::uint8_t { running, complete, stopped, failed };
  Is is = Is::running;
  std::string why;   ///< it stopped or failed
  std::string host;  ///< of rank 0
  std::int64_t process = 0;
  int ranks = 0;
  double began = 0.0;  ///< unix seconds
};

/// Of a job that begins now, in this process.
JobState running_job(const std::string& host, int ranks);

/// @throws DataError
void write_job_state(const std::filesystem::path& folder, const JobState& state);
/// Nothing where no job of this program left one, or where it cannot be read.
std::optional<JobState> read_job_state(const std::filesystem::path& folder);

/// False where it says "running", but its process is known to be gone; known only on its machine.
bool may_live(const JobState& state, const std::string& this_host);

std::string_view to_string(JobState::Is is);

/// goal.json of a stage's folder: how far it is to go.
struct StageGoal {
  std::int64_t total = 0;
  std::string unit;  ///< "steps", "problems"
};
/// @throws DataError
void write_stage_goal(const std::filesystem::path& stage_folder, const StageGoal& goal);
std::optional<StageGoal> read_stage_goal(const std::filesystem::path& stage_folder);

}  // namespace athanor
