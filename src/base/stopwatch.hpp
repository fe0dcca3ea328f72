// Wall-clock time spent, for logs and benchmarks. Never part of a result.
#pragma once

#include <chrono>

namespace athanor {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace athanor
