#include "jobs/report/live_record.hpp"

#include <chrono>
#include <fstream>

namespace athanor {
namespace {
namespace fs = std::filesystem;

/// The whole lines among the last `bytes` of a file that may be growing.
std::vector<std::string> last_lines(const fs::path& path, std::int64_t bytes) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  std::vector<std::string> lines;
  if (!in) return lines;
  const auto size = static_cast<std::int64_t>(in.tellg());
  in.seekg(std::max<std::int64_t>(0, size - bytes));
  std::string line;
  if (size > bytes) std::getline(in, line);  // a part of one
  while (std::getline(in, line) && !in.eof()) lines.push_back(line);
  return lines;
}

double unix_seconds(fs::file_time_type time) {
  const auto since = std::chrono::file_clock::to_sys(time).time_since_epoch();
  return std::chrono::duration<double>(since).count();
}

void read_checkpoint(const fs::path& folder, LiveRecord& record) {
  const auto latest = last_lines(folder / "latest", 256);
  std::error_code gone;
  const auto written = fs::last_write_time(folder / "latest", gone);
  if (latest.empty() || gone) return;
  record.checkpoint = latest.back();
  record.checkpoint_seconds = unix_seconds(written);
}

}  // namespace

LiveRecord read_live(const fs::path& folder) {
  constexpr std::int64_t kMetricsRead = 256 << 10, kWarningsRead = 4 << 10;
  constexpr std::size_t kWarnings = 3;
  LiveRecord record;
  record.run = read_recipe(folder);
  record.job = read_job_state(folder);
  record.warnings = last_lines(folder / "warnings.log", kWarningsRead);
  if (record.warnings.size() > kWarnings)
    record.warnings.erase(record.warnings.begin(), record.warnings.end() - kWarnings);
  for (std::size_t s = 0; s < record.run.stages.size(); ++s)
    if (record.run.stages[s].begun && !record.run.stages[s].complete) record.now = s;
  if (!record.now) return record;
  StageRecord& stage = record.run.stages[*record.now];
  const fs::path own = folder / "stages" / stage.name;
  for (const std::string& line : last_lines(own / "metrics.jsonl", kMetricsRead)) add_metrics(line, stage);
  record.goal = read_stage_goal(own).value_or(StageGoal{});
  read_checkpoint(own / "checkpoints", record);
  return record;
}

}  // namespace athanor
