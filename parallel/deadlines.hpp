// How long a rank may stand still before something must be wrong: learned from the run itself.
// Law: every kind of wait (phase and operation; what goes on between two calls is a kind too) has a deadline of its
// own: `factor` times the longest seen, no less than `floor` and no more than `ceiling` seconds. Until a kind was seen
// kEnough times it has the ceiling. Where ranks wait for one that reads or writes files for all (waits_for_files),
// floor and ceiling are kFiles times as long: disks have worse moments than networks. One thread notes, any may ask;
// neither takes a lock.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "parallel/job_phase.hpp"

namespace athanor {

struct DeadlineOptions {
  double floor = 60.0;   ///< seconds
  double ceiling = 0.0;  ///< seconds; 0: there is no deadline at all
  double factor = 10.0;  ///< of the longest seen
};

class Deadlines {
 public:
  static constexpr double kFiles = 10.0;
  static constexpr std::int64_t kEnough = 3;
  /// A kind of wait: what a rank does between two calls, or a call.
  static constexpr std::size_t kBetweenCalls = 0, kKinds = 32;

  void set(const DeadlineOptions& options);
  /// A wait of this kind is over.
  void note(JobPhase phase, std::size_t kind, std::int64_t nanoseconds);

  struct Limit {
    double seconds = 0.0;  ///< 0: none
    double longest = 0.0;  ///< of its kind so far, seconds
  };
  Limit limit(JobPhase phase, std::size_t kind) const;
  /// Of this kind so far, seconds.
  double longest(JobPhase phase, std::size_t kind) const;

 private:
  struct Seen {
    std::atomic<std::int64_t> longest_ns{0}, times{0};
  };
  const Seen& seen(JobPhase phase, std::size_t kind) const {
    return seen_[static_cast<std::size_t>(phase) * kKinds + kind];
  }

  std::atomic<double> floor_{DeadlineOptions{}.floor}, ceiling_{DeadlineOptions{}.ceiling},
      factor_{DeadlineOptions{}.factor};
  std::array<Seen, kJobPhaseNames.size() * kKinds> seen_;
};

}  // namespace athanor
