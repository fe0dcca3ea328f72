#include "parallel/watchdog.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

namespace athanor {
namespace {

constexpr std::chrono::milliseconds kPause(100);

}  // namespace

Watchdog::Watchdog(const CollectiveLog& log, std::string host_name, std::function<bool()> asked_to_end)
    : log_(log),
      host_name_(std::move(host_name)),
      asked_to_end_(std::move(asked_to_end)),
      told_dead_(static_cast<std::size_t>(log.ranks_here())) {
  // Signals are for the main thread.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { watch(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Watchdog::watch() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, kPause, [this] { return stop_; })) look();
}

void Watchdog::look() {
  look_at_the_others();
  const CollectiveState mine = log_.state(log_.own());
  if (mine.failed && mine.failed_seconds >= kStuck)
    end("this rank failed in a step and could not clean up; its last collective: " + to_string(mine));
  if (!asked_to_end_() || mine.finished || mine.calls == 0) return;
  if (!told_where_ && mine.seconds >= kWorthALine) {
    told_where_ = true;
    say("asked to end (SIGTERM) and waiting in " + to_string(mine));
  }
  if (mine.step > 0 && mine.seconds >= std::max(kStuck, 3.0 * mine.longest_seconds))
    end("still waiting in " + to_string(mine) + "; a rank that takes part must be gone");
}

void Watchdog::look_at_the_others() {
  int teller = log_.own();
  for (int here = 0; here < log_.own(); ++here)
    if (log_.lives(here)) teller = std::min(teller, here);
  for (int here = 0; here < log_.ranks_here(); ++here) {
    const auto index = static_cast<std::size_t>(here);
    if (told_dead_[index] || log_.lives(here)) continue;
    told_dead_[index] = true;
    dead_for_ = std::max(dead_for_, 0.0);
    if (teller == log_.own())
      say(fmt::format("rank {} (process {} of this machine) has died; its last collective: {}", log_.world_rank(here),
                      log_.process(here), to_string(log_.state(here))));
    if (!told_where_) say("the last collective here: " + to_string(log_.state(log_.own())));
    told_where_ = true;
  }
  if (dead_for_ < 0.0) return;
  dead_for_ += std::chrono::duration<double>(kPause).count();
  if (dead_for_ >= kPatience) end("a rank has died and nobody has ended the job");
}

void Watchdog::say(const std::string& text) const {
  const std::string line = fmt::format("[rank {} {}] {}\n", log_.world_rank(log_.own()), host_name_, text);
  // One write, past all buffers: this may be the last thing the process does.
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

void Watchdog::end(const std::string& why) const {
  say(why + "; this rank ends");
  ::_exit(1);
}

}  // namespace athanor
