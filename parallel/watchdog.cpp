#include "parallel/watchdog.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace athanor {
namespace {

constexpr std::chrono::milliseconds kPause(100);
/// A look that comes later than this was held up with the whole process: stopped by a signal, or the machine asleep.
constexpr double kLongestPause = 1.0;

/// The letter that the system gives the state of a process of this machine; 'X' when it is gone.
char state_of(std::int64_t process) {
  std::ifstream in(fmt::format("/proc/{}/stat", process));
  std::string line;
  std::getline(in, line);
  const auto name_end = line.rfind(')');
  return name_end == std::string::npos || name_end + 2 >= line.size() ? 'X' : line[name_end + 2];
}

bool is_held_up(std::int64_t process) {
  const char state = state_of(process);
  return state != 'R' && state != 'S';
}

std::string condition_of(std::int64_t process) {
  switch (state_of(process)) {
    case 'T':
    case 't':
      return "stopped by a signal; SIGCONT would let it go on";
    case 'D':
      return "waiting for a disk or a file system";
    case 'Z':
    case 'X':
      return "dead";
    case 'R':
      return "computing";
    default:
      return "sleeping";
  }
}

}  // namespace

Watchdog::Watchdog(CollectiveLog& log, std::string host_name, std::function<bool()> asked_to_end)
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
  const auto now = std::chrono::steady_clock::now();
  const double since = std::min(kLongestPause, std::chrono::duration<double>(now - last_look_).count());
  last_look_ = now;
  look_at_the_others();
  if (log_.stack_is_wanted()) say_stack();
  const CollectiveState mine = log_.state(log_.own());
  if (mine.failed && mine.failed_seconds >= kStuck)
    end("this rank failed in a step and could not clean up; its last collective: " + to_string(mine));
  const bool moved = mine.events != events_;
  if (moved && past_deadline_for_ >= 0.0) say("goes on after all");
  if (moved) past_deadline_for_ = -1.0;
  events_ = mine.events;
  still_for_ = moved ? 0.0 : still_for_ + since;
  if (past_deadline_for_ >= 0.0) past_deadline_for_ += since;
  look_at_deadline(mine);
  look_at_end_asked_for(mine);
}

void Watchdog::look_at_deadline(const CollectiveState& mine) {
  if (past_deadline_for_ >= kLastWords) end("nothing has moved");
  const Deadlines::Limit limit = log_.limit(mine);
  if (past_deadline_for_ >= 0.0 || limit.seconds <= 0.0 || still_for_ < limit.seconds) return;
  past_deadline_for_ = 0.0;
  told_where_ = true;
  const bool between = mine.calls == 0 || mine.finished;
  say(fmt::format(
      "HANGS: {} {}; for {:.1f} s, the deadline is {:.1f} s (longest wait of this kind before: {:.1f} s; "
      "parallel.deadline_floor, _ceiling and _factor)",
      between ? fmt::format("in phase {} without a collective, the last one:", to_string(mine.phase)) : "waiting in",
      to_string(mine), still_for_, limit.seconds, limit.longest));
  if (between)
    say_stack();
  else
    say_who_is_missing(mine);
}

void Watchdog::say_who_is_missing(const CollectiveState& mine) {
  const GroupMembers* members = log_.own_members();
  if (members == nullptr) return;
  std::string elsewhere;
  int named = 0;
  for (const int rank : members->world_ranks) {
    int here = 0;
    while (here < log_.ranks_here() && log_.world_rank(here) != rank) ++here;
    if (here == log_.ranks_here()) {
      elsewhere += fmt::format(" {}", rank);
    } else if (here != log_.own()) {
      const bool arrived = in_same_call(mine, log_.state(here));
      if (arrived && !is_held_up(log_.process(here))) continue;
      say((arrived ? "ARRIVED AND HELD UP: " : "NOT ARRIVED: ") + describe(here));
      log_.want_stack(here);
      ++named;
    }
  }
  if (named == 0 && elsewhere.empty()) say("all ranks that take part are in this call: it is the network that hangs");
  if (!elsewhere.empty())
    say("of other machines these ranks take part:" + elsewhere + "; their own lines say where they are");
}

std::string Watchdog::describe(int here) const {
  const CollectiveState state = log_.state(here);
  return fmt::format("rank {} (process {} of this machine, {}), in phase {}; its last collective: {}",
                     log_.world_rank(here), log_.process(here), condition_of(log_.process(here)),
                     to_string(state.phase), to_string(state));
}

void Watchdog::say_stack() const {
  const std::vector<std::string> frames = stack_.take();
  say(fmt::format("stack, innermost first: {}",
                  frames.empty() ? "not to be had" : fmt::format("{}", fmt::join(frames, " < "))));
}

void Watchdog::look_at_end_asked_for(const CollectiveState& mine) {
  if (!asked_to_end_()) return;
  if (mine.finished || mine.calls == 0) {
    const double longest = log_.limit(mine).longest;
    if (told_where_ || still_for_ < std::max(kStuck / 2, 3.0 * longest)) return;
    told_where_ = true;
    say(fmt::format("asked to end (SIGTERM) and without a collective for {:.1f} s, in phase {}; the last one: {}",
                    still_for_, to_string(mine.phase), to_string(mine)));
    return say_stack();
  }
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
