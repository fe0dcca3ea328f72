// Who is slow: each rank's own time a step, compared over ranks now and then.
// Law: own time is the wall time of a step without the time in collectives, where a rank waits for the others; on a
// device whose streams run by themselves, waiting for the stream counts as the rank's own. One small message a report.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "io/metrics/metrics.hpp"
#include "parallel/collective_log.hpp"
#include "parallel/host_group.hpp"
#include "src/base/stopwatch.hpp"

namespace athanor {

struct Straggler {
  int rank = 0;
  std::string host;
  double seconds = 0.0;  ///< its own, a step
  double median = 0.0;   ///< of all ranks
  std::array<Scalar, 3> scalars() const;
};
/// "rank 3 (node07) takes 0.52 s a step by itself, 2.1 times the median of all ranks (0.25 s)", and what to do.
std::string to_string(const Straggler& straggler);

/// The slowest rank when it takes more than `factor` times the lower median, and at least kNoise seconds more; its rank
/// alone is filled in, with the numbers. @param seconds  a step, by rank.
std::optional<Straggler> find_straggler(std::span<const std::int64_t> nanoseconds, double factor);

class StepTimes {
 public:
  static constexpr double kNoise = 0.01;  ///< seconds

  /// @param log  tells the time in collectives; null: none is taken off.
  explicit StepTimes(const CollectiveLog* log) : log_(log) {}
  void begin();
  /// @param steps  that were done since begin(); one call may do several.
  void end(std::int64_t steps);
  /// Of the steps since the report before. Collective. @param factor  0: nothing is sent.
  /// @returns on every rank the slowest one, where it stands out.
  std::optional<Straggler> report(HostGroup& world, double factor);

 private:
  std::int64_t in_calls() const { return log_ == nullptr ? 0 : log_->nanoseconds_in_calls(); }

  const CollectiveLog* log_;
  Clock::time_point begun_{};
  std::int64_t in_calls_at_begin_ = 0, own_ns_ = 0, steps_ = 0;
};

}  // namespace athanor
