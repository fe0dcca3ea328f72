// Whether the job should stop soon: SIGTERM, SIGINT or SIGUSR1 on any rank, the time limit, or a file STOP in the run
// folder. Law: a handler only sets a flag; ranks agree once a step, so all stop after the same step, save and exit with
// status 75.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>

#include "parallel/host_group.hpp"

namespace athanor {

class StopSignal {
 public:
  /// Takes over the signals until it dies. @param time_limit_seconds  from now; 0: none.
  StopSignal(std::filesystem::path stop_file, double time_limit_seconds);
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  /// Whether SIGTERM has come since the last StopSignal was made. From any thread.
  static bool asked_to_end();

  /// Collective: true on every rank once any rank has a reason.
  bool agreed(HostGroup& ranks);
  /// This rank's reason, or "asked for by another rank".
  std::string reason() const;

 private:
  std::filesystem::path stop_file_;
  std::chrono::steady_clock::time_point start_, last_look_;
  double limit_seconds_;
  bool file_seen_ = false;
};

}  // namespace athanor
