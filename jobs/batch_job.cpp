#include "jobs/batch_job.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

namespace athanor {
namespace {

std::optional<double> number(std::string_view text) {
  double value = 0.0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || read.ec != std::errc{} || read.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::optional<double> parse_slurm_duration(std::string_view text) {
  double seconds = 0.0;
  if (const auto dash = text.find('-'); dash != std::string_view::npos) {
    const auto days = number(text.substr(0, dash));
    if (!days) return std::nullopt;
    seconds = *days * 24.0;  // hours; each colon below makes sixty of them
    text.remove_prefix(dash + 1);
    if (text.find(':') == std::string_view::npos) return std::nullopt;
  }
  while (true) {
    const auto colon = text.find(':');
    const auto part = number(text.substr(0, colon));
    if (!part) return std::nullopt;
    seconds += *part;
    if (colon == std::string_view::npos) return seconds;
    seconds *= 60.0;
    text.remove_prefix(colon + 1);
  }
}

std::optional<double> seconds_left_in_batch_job() {
  if (const char* end = std::getenv("SLURM_JOB_END_TIME"); end != nullptr) {
    const auto now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    if (const auto at = number(end)) return *at - now;
    spdlog::warn("SLURM_JOB_END_TIME = {} is no time; the job's end is not minded", end);
    return std::nullopt;
  }
  const char* const job = std::getenv("SLURM_JOB_ID");
  if (job == nullptr || !number(job)) return std::nullopt;
  const std::string command = fmt::format("timeout 10 squeue --noheader --jobs={} --format=%L 2>/dev/null", job);
  const std::unique_ptr<FILE, int (*)(FILE*)> squeue(::popen(command.c_str(), "r"), &::pclose);
  char line[64] = {};
  if (!squeue || std::fgets(line, sizeof line, squeue.get()) == nullptr) {
    spdlog::warn("`{}` gave nothing; the end of Slurm job {} is not minded, give run.time_limit", command, job);
    return std::nullopt;
  }
  std::string_view text(line);
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  return parse_slurm_duration(text);
}

}  // namespace athanor
