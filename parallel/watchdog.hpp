// A thread that says, when the job is about to die, in which collective and phase every rank of this machine stood, and
// ends this rank where nobody else does. MPI itself would wait for a dead or silent rank forever.
//
// Law: it looks ten times a second and touches nothing but the records of CollectiveLog, and the main thread's stack
// when something is wrong. It speaks and acts only when
//   - this rank has stood still longer than its deadline (parallel/deadlines): it says in what, for how long, and which
//     ranks of the machine are not in the same call, what they do and with which stack; kLastWords seconds later it
//     ends with status 1, unless something has moved. Time in which the process itself was stopped does not count;
//   - another rank of the machine has died: each rank says where it stands, the lowest living one also where the dead
//     stood, and after kPatience seconds without the launcher's kill this rank ends with status 1;
//   - this rank is asked to end (SIGTERM: mpirun and srun send it to the ranks that a failure leaves) while it stands
//   in
//     one collective, or computes for much longer than ever: it says where. If it waits in a step for kStuck seconds
//     and for three times the longest before it, the rank waits for one that is gone, and ends with status 1. One that
//     computes goes on to the end of its step, as a stop asks;
//   - an exception has left a step kStuck seconds ago and the process still lives;
//   - another rank of the machine wants to know where this one is.
// It must not outlive the MpiSession: ranks that end well leave together, in MPI_Finalize.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "parallel/collective_log.hpp"
#include "parallel/stack.hpp"

namespace athanor {

class Watchdog {
 public:
  static constexpr double kPatience = 5.0, kStuck = 10.0;  // seconds
  /// How long a rank must stand in one collective before it is worth a line. mpirun kills one second after SIGTERM.
  static constexpr double kWorthALine = 0.4;
  /// Between the words of a rank that is past its deadline and its end: the others say where they are.
  static constexpr double kLastWords = 1.5;

  /// By the main thread. @param log  must outlive this.   @param asked_to_end  whether SIGTERM has come; called from
  /// the thread.
  Watchdog(CollectiveLog& log, std::string host_name, std::function<bool()> asked_to_end);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  using Moment = std::chrono::steady_clock::time_point;

  void watch();
  void look();
  void look_at_deadline(const CollectiveState& mine);
  void look_at_end_asked_for(const CollectiveState& mine);
  void look_at_the_others();
  void say_who_is_missing(const CollectiveState& mine);
  void say_stack() const;
  std::string describe(int here) const;
  void say(const std::string& text) const;
  [[noreturn]] void end(const std::string& why) const;

  CollectiveLog& log_;
  std::string host_name_;
  std::function<bool()> asked_to_end_;
  MainThreadStack stack_;
  Moment last_look_ = std::chrono::steady_clock::now();
  std::int64_t events_ = -1;         ///< of this rank's record when it was last seen to move
  double still_for_ = 0.0;           ///< seconds since then
  double past_deadline_for_ = -1.0;  ///< seconds since that was said; negative: it was not
  bool told_where_ = false;
  std::vector<bool> told_dead_;
  double dead_for_ = -1.0;  ///< seconds since the first death was seen; negative: none
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace athanor
