#include "jobs/job_state.hpp"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/checkpoint/durable.hpp"

namespace athanor {
namespace {
constexpr std::array<JobState::Is, 4> kAll = {JobState::Is::running, JobState::Is::complete, JobState::Is::stopped,
                                              JobState::Is::failed};
}  // namespace

std::string_view to_string(JobState::Is is) {
  constexpr std::array<std::string_view, 4> kNames = {"running", "complete", "stopped", "failed"};
  return kNames[static_cast<std::size_t>(is)];
}

JobState running_job(const std::string& host, int ranks) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return {JobState::Is::running, "", host, ::getpid(), ranks, std::chrono::duration<double>(now).count()};
}

void write_job_state(const std::filesystem::path& folder, const JobState& state) {
  const nlohmann::ordered_json text = {{"state", to_string(state.is)}, {"why", state.why},
                                       {"host", state.host},           {"process", state.process},
                                       {"ranks", state.ranks},         {"began_unix_seconds", state.began}};
  replace_text_file(folder / "job.json", text.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

std::optional<JobState> read_job_state(const std::filesystem::path& folder) {
  std::ifstream in(folder / "job.json");
  const auto text = nlohmann::json::parse(in, nullptr, false);
  if (!text.is_object()) return std::nullopt;
  for (const JobState::Is is : kAll)
    if (text.value("state", "") == to_string(is))
      return JobState{is,
                      text.value("why", ""),
                      text.value("host", ""),
                      text.value("process", std::int64_t{0}),
                      text.value("ranks", 0),
                      text.value("began_unix_seconds", 0.0)};
  return std::nullopt;
}

void write_stage_goal(const std::filesystem::path& stage_folder, const StageGoal& goal) {
  replace_text_file(stage_folder / "goal.json",
                    nlohmann::ordered_json{{"total", goal.total}, {"unit", goal.unit}}.dump() + "\n");
}

std::optional<StageGoal> read_stage_goal(const std::filesystem::path& stage_folder) {
  std::ifstream in(stage_folder / "goal.json");
  const auto text = nlohmann::json::parse(in, nullptr, false);
  if (!text.is_object()) return std::nullopt;
  return StageGoal{text.value("total", std::int64_t{0}), text.value("unit", "")};
}

bool may_live(const JobState& state, const std::string& this_host) {
  if (state.is != JobState::Is::running) return false;
  return state.host != this_host || ::kill(static_cast<pid_t>(state.process), 0) == 0 || errno != ESRCH;
}

}  // namespace athanor
