#include "io/metrics/metrics.hpp"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "src/base/error.hpp"

namespace athanor {

void cut_records(const std::filesystem::path& path, std::int64_t last_step) {
  std::ifstream in(path);
  if (!in) return;
  std::string kept, line;
  bool changed = false;
  while (std::getline(in, line)) {
    const bool whole = !in.eof();
    const auto record = nlohmann::json::parse(line, nullptr, false);
    if (whole && !record.is_discarded() && record.value("step", std::int64_t{-1}) <= last_step)
      kept += line + "\n";
    else
      changed = true;
  }
  in.close();
  if (!changed) return;
  const auto temporary = path.string() + ".tmp";
  std::ofstream(temporary) << kept;
  std::filesystem::rename(temporary, path);
}

void set_up_log(int rank, const std::string& host_name) {
  auto logger = spdlog::get("athanor");
  if (!logger) logger = spdlog::stderr_color_mt("athanor");
  spdlog::set_default_logger(logger);
  spdlog::set_level(rank == 0 ? spdlog::level::info : spdlog::level::warn);
  spdlog::set_pattern(rank == 0 ? "%H:%M:%S %^%v%$" : fmt::format("%H:%M:%S [rank {} {}] %^%v%$", rank, host_name));
}

MetricsFile::MetricsFile(const std::filesystem::path& path, std::int64_t resume_step) : path_(path) {
  cut_records(path, resume_step);
  file_.reset(std::fopen(path.c_str(), "a"));
  if (!file_) throw DataError("metrics: " + path.string() + " cannot be opened: " + std::strerror(errno));
}

void MetricsFile::write(std::string_view stage, std::int64_t step, std::span<const Scalar> scalars) {
  line_.clear();
  const auto out = std::back_inserter(line_);
  fmt::format_to(out, "{{\"stage\":\"{}\",\"step\":{}", stage, step);
  for (const Scalar& scalar : scalars) {
    if (std::isfinite(scalar.value))
      fmt::format_to(out, ",\"{}\":{}", scalar.name, scalar.value);
    else
      fmt::format_to(out, ",\"{}\":null", scalar.name);
  }
  line_ += "}\n";
  if (std::fwrite(line_.data(), 1, line_.size(), file_.get()) != line_.size() || std::fflush(file_.get()) != 0)
    throw DataError("metrics: writing " + path_.string() + " failed: " + std::strerror(errno));
}

ProgressLine::ProgressLine() {
  // Open MPI's mpirun gives ranks a terminal of its own wherever its output goes, so under it only its caller can know:
  // ATHANOR_PROGRESS=line asks for the rewritten line, anything else for plain ones.
  if (const char* wish = std::getenv("ATHANOR_PROGRESS"); wish != nullptr)
    on_terminal_ = std::string_view(wish) == "line";
  else
    on_terminal_ = std::getenv("OMPI_COMM_WORLD_SIZE") == nullptr && ::isatty(STDOUT_FILENO) == 1;
}

void ProgressLine::show(std::string_view text, bool important) {
  if (on_terminal_) {
    fmt::print("\r\033[K{}", text);
    open_ = true;
    if (important) finish();
  } else if (important) {
    fmt::print("{}\n", text);
  }
  std::fflush(stdout);
}

void ProgressLine::finish() {
  if (open_) fmt::print("\n");
  open_ = false;
  std::fflush(stdout);
}

std::string format_seconds(double seconds) {
  const auto total = static_cast<std::int64_t>(std::llround(std::max(0.0, seconds)));
  if (total >= 3600) return fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
  return fmt::format("{}:{:02}", total / 60, total % 60);
}

}  // namespace athanor
