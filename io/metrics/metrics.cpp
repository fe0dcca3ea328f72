#include "io/metrics/metrics.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <mutex>
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

namespace {

/// A line a warning, appended by one write each, so that those of several ranks do not mix.
class WarningFile final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit WarningFile(std::filesystem::path path) : path_(std::move(path)) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    const Descriptor file(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (file.number < 0) return;
    // A disk that takes nothing is told of by what the run itself writes.
    [[maybe_unused]] const auto written = ::write(file.number, line.data(), line.size());
  }
  void flush_() override {}

  struct Descriptor {
    explicit Descriptor(int with) : number(with) {}
    ~Descriptor() {
      if (number >= 0) ::close(number);
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int number;
  };
  std::filesystem::path path_;
};

}  // namespace

void keep_warnings(const std::filesystem::path& path, int rank, const std::string& host_name) {
  auto file = std::make_shared<WarningFile>(path);
  file->set_level(spdlog::level::warn);
  file->set_pattern(fmt::format("%Y-%m-%d %H:%M:%S rank {} {}: %v", rank, host_name));
  spdlog::default_logger()->sinks().push_back(std::move(file));
}

MetricsFile::MetricsFile(const std::filesystem::path& path, std::int64_t resume_step,
                         const std::filesystem::path& event_folder)
    : path_(path) {
  cut_records(path, resume_step);
  file_.reset(std::fopen(path.c_str(), "a"));
  if (!file_) throw DataError("metrics: " + path.string() + " cannot be opened: " + std::strerror(errno));
  if (!event_folder.empty()) events_.emplace(event_folder, resume_step);
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
  fmt::format_to(out, ",\"unix_seconds\":{:.3f}}}\n",
                 std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count());
  if (std::fwrite(line_.data(), 1, line_.size(), file_.get()) != line_.size() || std::fflush(file_.get()) != 0)
    throw DataError("metrics: writing " + path_.string() + " failed: " + std::strerror(errno));
  if (events_) events_->write(step, scalars);
}

void MetricsFile::write_text(std::int64_t step, std::string_view tag, std::string_view text) {
  if (events_) events_->write_text(step, tag, text);
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

std::string completion_markdown(std::string_view prompt, std::string_view completion, std::string_view facts) {
  std::string text;
  for (const std::string_view part : {prompt, completion}) {
    // Indented text is shown as it is.
    text += "\n    ";
    for (const char sign : part) {
      text += sign;
      if (sign == '\n') text += "    ";
    }
    text += "\n\n---\n";
  }
  return fmt::format("{}\n{}\n", facts, text);
}

std::string format_seconds(double seconds) {
  const auto total = static_cast<std::int64_t>(std::llround(std::max(0.0, seconds)));
  if (total >= 3600) return fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
  return fmt::format("{}:{:02}", total / 60, total % 60);
}

}  // namespace athanor
