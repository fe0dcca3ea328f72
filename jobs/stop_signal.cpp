#include "jobs/stop_signal.hpp"

#include <atomic>
#include <csignal>

namespace athanor {
namespace {

std::atomic<int> g_signal{0};  // the one thing a handler touches; another thread reads it
static_assert(std::atomic<int>::is_always_lock_free);

void remember(int signal) { g_signal = signal; }

constexpr int kSignals[] = {SIGTERM, SIGINT, SIGUSR1};

}  // namespace

StopSignal::StopSignal(std::filesystem::path stop_file, double time_limit_seconds)
    : stop_file_(std::move(stop_file)),
      start_(std::chrono::steady_clock::now()),
      last_look_(start_),
      limit_seconds_(time_limit_seconds) {
  g_signal = 0;
  struct sigaction action {};
  action.sa_handler = remember;
  for (const int signal : kSignals) ::sigaction(signal, &action, nullptr);
}

StopSignal::~StopSignal() {
  for (const int signal : kSignals) std::signal(signal, SIG_DFL);
}

bool StopSignal::asked_to_end() { return g_signal == SIGTERM; }

bool StopSignal::agreed(HostGroup& ranks) {
  const auto now = std::chrono::steady_clock::now();
  const bool timed_out = limit_seconds_ > 0.0 && std::chrono::duration<double>(now - start_).count() >= limit_seconds_;
  // The file is looked for once a second at most: a shared file system has better things to do.
  if (ranks.rank() == 0 && !file_seen_ && now - last_look_ >= std::chrono::seconds(1)) {
    last_look_ = now;
    std::error_code ignored;
    file_seen_ = std::filesystem::exists(stop_file_, ignored);
  }
  return ranks.any(g_signal != 0 || timed_out || file_seen_);
}

std::string StopSignal::reason() const {
  if (g_signal == SIGTERM) return "SIGTERM";
  if (g_signal == SIGINT) return "SIGINT";
  if (g_signal == SIGUSR1) return "SIGUSR1";
  if (file_seen_) return "the file " + stop_file_.string();
  if (limit_seconds_ > 0.0) return "run.time_limit";
  return "another rank";
}

}  // namespace athanor
