#include "parallel/clock_offset.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace athanor {
namespace {

// Ranks of one machine share a clock: their offset is none at all, not merely a small one.
TEST(ClockOffset, IsNoneOnOneMachine) {
  HostGroup world = HostGroup::world();
  const ClockOffset offset = measure_clock_offset(world);
  EXPECT_EQ(offset.seconds, 0.0);
  EXPECT_GE(offset.error, 0.0);
}

// Clocks that were started apart are brought together to within the error that is told.
TEST(ClockOffset, IsFoundToWithinItsError) {
  HostGroup world = HostGroup::world();
  const double ahead = 1000.0 * world.rank();
  const ClockOffset offset = measure_clock_offset(world, [&] { return monotonic_seconds() + ahead; });
  // The arithmetic of times around 1e6 s is exact to about 1e-9 s.
  EXPECT_LE(std::abs(offset.seconds + ahead), offset.error + 1e-8);
  EXPECT_LT(offset.error, 10.0);
}

}  // namespace
}  // namespace athanor
