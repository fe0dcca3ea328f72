// One outcome for all ranks. Law: work that can fail on one rank alone (a file, memory) runs inside attempt_together():
// then all ranks go on or all know the reason, and none is left waiting in a collective that another never enters.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "parallel/host_group.hpp"
#include "src/base/error.hpp"

namespace athanor {

/// Work was given up because the job is asked to stop; nothing is wrong, and the run goes on from there. Thrown on all
/// ranks or on none. Exit status 75.
class Interrupted : public Error {
 public:
  using Error::Error;
  int exit_status() const noexcept override { return 75; }
};

struct Outcome {
  /// Ordered from good to worst; the worst of all ranks counts.
  enum class Verdict : std::uint8_t { good, interrupted, damaged, failed, mismatch };
  Verdict verdict = Verdict::good;
  std::string reason;  ///< of the first rank with that verdict, with its number

  bool good() const { return verdict == Verdict::good; }
  /// Nothing when good. @throws DataError (damaged: files), Error (failed: anything else), ConfigError (mismatch: the
  /// user's input), Interrupted.
  void raise() const;
};

/// Runs `work` on every rank. An exception becomes the outcome, the same on all ranks. Collective.
Outcome attempt_together(HostGroup& ranks, const std::function<void()>& work);

/// Runs `work` on rank 0 alone; what it throws, every rank throws, in the same words. Collective.
void on_first_rank(HostGroup& ranks, const std::function<void()>& work);

}  // namespace athanor
