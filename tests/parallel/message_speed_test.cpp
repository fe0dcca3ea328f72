// Every rank measures every other once, whether their number is odd or even.
#include "parallel/message_speed.hpp"

#include <gtest/gtest.h>

#include <set>

namespace athanor {
namespace {

TEST(MessageSpeed, MeetsEveryOtherRankOnce) {
  HostGroup world = HostGroup::world();
  // Of the first 1, 2, 3... ranks.
  for (int size = 1; size <= world.size(); ++size) {
    HostGroup group = world.split(world.rank() < size ? 0 : 1, world.rank());
    std::set<int> met;
    for (const MessageSpeed& speed : measure_messages(group, 1 << 16)) {
      EXPECT_TRUE(met.insert(speed.peer).second) << speed.peer;
      EXPECT_GT(speed.bytes_per_second, 0.0);
      EXPECT_GT(speed.latency_seconds, 0.0);
    }
    EXPECT_EQ(std::ssize(met), group.size() - 1);
    EXPECT_FALSE(met.contains(group.rank()));
  }
}

}  // namespace
}  // namespace athanor
