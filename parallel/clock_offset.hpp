// By how much the monotonic clocks of ranks differ: those of one machine agree, each machine counts from its own start.
// Method: messages there and back, the fastest counts (Cristian 1989). The reply says what time it was at rank 0
// between the two ends, so the offset is known to half of that round trip; one that is smaller than that is taken to be
// none.
#pragma once

#include <functional>

#include "parallel/host_group.hpp"

namespace athanor {

struct ClockOffset {
  double seconds = 0.0;  ///< to add to this rank's clock for that of rank 0
  double error = 0.0;    ///< at most so far off
};

/// Seconds of the monotonic clock (src/base/stopwatch.hpp).
double monotonic_seconds();

/// Collective. Takes some 20 round trips for each rank, one after another. @param now  this rank's clock.
ClockOffset measure_clock_offset(const HostGroup& ranks, const std::function<double()>& now = monotonic_seconds);

}  // namespace athanor
