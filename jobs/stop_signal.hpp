// Whether the job should stop soon: SIGTERM, SIGINT or SIGUSR1 on any rank, the time limit, the end of the Slurm job,
// or a file STOP in the run folder. Law: a handler only sets a flag; ranks agree where all of them pass, so all stop at
// the same place, save and exit with status 75. Before the end of a Slurm job they stop so early that the longest way
// to the next such place and a save as long as the longest one measured still fit.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>

#include "parallel/host_group.hpp"

namespace athanor {

class StopSignal {
 public:
  struct Limits {
    double time_limit = 0.0;           ///< seconds from now; 0: none
    std::optional<double> batch_left;  ///< seconds from now that the batch system leaves; looked at on rank 0
  };
  /// Takes over the signals until it dies.
  StopSignal(std::filesystem::path stop_file, const Limits& limits);
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  /// Whether SIGTERM has come since the last StopSignal was made. From any thread.
  static bool asked_to_end();
  /// Whether any of the signals has come to this rank. From any thread.
  static bool asked();
  /// For long work of one rank, or where ranks agree on outcomes (attempt_together). Not collective.
  /// @throws Interrupted when a signal has come to this rank, saying that `what` is given up.
  static void require_not_asked(const std::string& what);

  /// A save took so long, or may.
  void note_save(double seconds);
  /// Collective: true on every rank once any rank has a reason.
  bool agreed(HostGroup& ranks);
  /// This rank's reason, or "another rank".
  std::string reason() const;

 private:
  using Moment = std::chrono::steady_clock::time_point;
  bool batch_ends_soon(Moment now) const;

  std::filesystem::path stop_file_;
  Limits limits_;
  Moment start_, last_look_, last_agreed_;
  double longest_way_ = 0.0;   ///< seconds between two calls of agreed()
  double longest_save_ = 0.0;  ///< seconds; 0: none was measured
  bool file_seen_ = false, batch_ended_ = false;
};

}  // namespace athanor
