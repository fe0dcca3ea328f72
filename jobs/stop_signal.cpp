#include "jobs/stop_signal.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <csignal>

#include "parallel/agreement.hpp"

namespace athanor {
namespace {

std::atomic<int> g_signal{0};  // the one thing a handler touches; another thread reads it
static_assert(std::atomic<int>::is_always_lock_free);

const char* name_of(int signal) { return signal == SIGTERM ? "SIGTERM" : signal == SIGINT ? "SIGINT" : "SIGUSR1"; }

void remember(int signal) { g_signal = signal; }

double seconds_between(std::chrono::steady_clock::time_point begin, std::chrono::steady_clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

constexpr int kSignals[] = {SIGTERM, SIGINT, SIGUSR1};

}  // namespace

StopSignal::StopSignal(std::filesystem::path stop_file, const Limits& limits)
    : stop_file_(std::move(stop_file)),
      limits_(limits),
      start_(std::chrono::steady_clock::now()),
      last_look_(start_),
      last_agreed_(start_) {
  g_signal = 0;
  struct sigaction action {};
  action.sa_handler = remember;
  for (const int signal : kSignals) ::sigaction(signal, &action, nullptr);
}

StopSignal::~StopSignal() {
  for (const int signal : kSignals) std::signal(signal, SIG_DFL);
}

bool StopSignal::asked_to_end() { return g_signal == SIGTERM; }

bool StopSignal::asked() { return g_signal != 0; }

void StopSignal::require_not_asked(const std::string& what) {
  if (asked())
    throw Interrupted(
        fmt::format("stopped by {}: {} is given up, and begun again when the run goes on", name_of(g_signal), what));
}

void StopSignal::note_save(double seconds) { longest_save_ = std::max(longest_save_, seconds); }

bool StopSignal::batch_ends_soon(Moment now) const {
  if (!limits_.batch_left) return false;
  // Before anything was measured; of a short job not all of it is kept back.
  constexpr double kUnknownSave = 30.0, kMargin = 5.0, kLargestShare = 0.25;
  const double save = longest_save_ > 0.0 ? longest_save_ : kUnknownSave;
  double kept_back = kMargin + 1.5 * save + longest_way_;
  if (longest_save_ <= 0.0) kept_back = std::min(kept_back, kLargestShare * *limits_.batch_left);
  return seconds_between(start_, now) + kept_back >= *limits_.batch_left;
}

bool StopSignal::agreed(HostGroup& ranks) {
  const auto now = std::chrono::steady_clock::now();
  longest_way_ = std::max(longest_way_, seconds_between(last_agreed_, now));
  last_agreed_ = now;
  const bool timed_out = limits_.time_limit > 0.0 && seconds_between(start_, now) >= limits_.time_limit;
  batch_ended_ = batch_ended_ || (ranks.rank() == 0 && batch_ends_soon(now));
  // The file is looked for once a second at most: a shared file system has better things to do.
  if (ranks.rank() == 0 && !file_seen_ && now - last_look_ >= std::chrono::seconds(1)) {
    last_look_ = now;
    std::error_code ignored;
    file_seen_ = std::filesystem::exists(stop_file_, ignored);
  }
  return ranks.any(g_signal != 0 || timed_out || file_seen_ || batch_ended_);
}

std::string StopSignal::reason() const {
  if (g_signal != 0) return name_of(g_signal);
  if (file_seen_) return "the file " + stop_file_.string();
  if (batch_ended_) return "the end of the Slurm job";
  if (limits_.time_limit > 0.0) return "run.time_limit";
  return "another rank";
}

}  // namespace athanor
