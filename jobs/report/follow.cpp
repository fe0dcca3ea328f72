#include "jobs/report/follow.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <climits>
#include <cstdio>
#include <thread>

#include "io/metrics/metrics.hpp"
#include "jobs/report/live_view.hpp"

namespace athanor {
namespace {

std::size_t terminal_width() {
  winsize size{};
  constexpr std::size_t kUsual = 80;
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kUsual;
}

std::string own_host() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  ::gethostname(name.data(), HOST_NAME_MAX);
  return name.data();
}

/// No job is at work, or none will be.
bool has_ended(const LiveRecord& record, bool job_may_live) {
  if (record.job) return record.job->is != JobState::Is::running || !job_may_live;
  for (const StageRecord& stage : record.run.stages)
    if (!stage.complete) return false;
  return true;
}

}  // namespace

void follow_run(const std::filesystem::path& folder, double interval_seconds) {
  const bool on_terminal = ProgressLine().on_terminal();
  const std::string host = own_host();
  std::size_t drawn = 0;
  std::string said;
  while (true) {
    const LiveRecord record = read_live(folder);
    LiveLook look;
    look.now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    look.job_may_live = !record.job || may_live(*record.job, host);
    look.colours = on_terminal;
    if (on_terminal) {
      look.width = terminal_width();
      if (drawn > 0) fmt::print("\033[{}A", drawn);  // to the first line of the last drawing
      fmt::print("\r\033[J");
      const auto lines = live_view(record, look);
      for (const std::string& line : lines) fmt::print("{}\n", line);
      drawn = lines.size();
    } else if (const std::string line = live_line(record, look); line != said) {
      fmt::print("{}\n", line);
      said = line;
    }
    std::fflush(stdout);
    if (has_ended(record, look.job_may_live)) return;
    std::this_thread::sleep_for(std::chrono::duration<double>(interval_seconds));
  }
}

}  // namespace athanor
