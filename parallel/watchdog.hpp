// A thread that says, when the job is about to die, in which collective every rank of this machine stood, and ends this
// rank where nobody else does. MPI itself would wait for a dead rank forever.
//
// Law: it looks ten times a second and touches nothing but the records of CollectiveLog. It speaks and acts only when
//   - another rank of the machine has died: each rank says where it stands, the lowest living one also where the dead
//     stood, and after kPatience seconds without the launcher's kill this rank ends with status 1;
//   - this rank is asked to end (SIGTERM: mpirun and srun send it to the ranks that a failure leaves) while it stands
//   in
//     one collective: it says which. If that one is of an optimizer step and goes on for kStuck seconds and for three
//     times the longest before it, the rank waits for one that is gone, and ends with status 1. One that computes goes
//     on to the end of its step, as a stop asks;
//   - an exception has left a step kStuck seconds ago and the process still lives.
// It must not outlive the MpiSession: ranks that end well leave together, in MPI_Finalize.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "parallel/collective_log.hpp"

namespace athanor {

class Watchdog {
 public:
  static constexpr double kPatience = 5.0, kStuck = 10.0;  // seconds
  /// How long a rank must stand in one collective before it is worth a line. mpirun kills one second after SIGTERM.
  static constexpr double kWorthALine = 0.4;

  /// @param log  must outlive this.   @param asked_to_end  whether SIGTERM has come; called from the thread.
  Watchdog(const CollectiveLog& log, std::string host_name, std::function<bool()> asked_to_end);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  void watch();
  void look();
  void look_at_the_others();
  void say(const std::string& text) const;
  [[noreturn]] void end(const std::string& why) const;

  const CollectiveLog& log_;
  std::string host_name_;
  std::function<bool()> asked_to_end_;
  bool told_where_ = false;
  std::vector<bool> told_dead_;
  double dead_for_ = -1.0;  ///< seconds since the first death was seen; negative: none
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace athanor
