// Which write of a checkpoint is told as slow: hand-worked.
#include <gtest/gtest.h>

#include <vector>

#include "io/checkpoint/slow_disk.hpp"

namespace athanor {
namespace {

std::vector<WriteTime> took(std::initializer_list<double> seconds) {
  std::vector<WriteTime> times;
  for (const double s : seconds) times.push_back({s, "node" + std::to_string(times.size())});
  return times;
}

// A rank three times slower than the median, if it took a second at least; else all of them against the best save
// before.
TEST(SlowDisk, NamesTheRankOrAll) {
  EXPECT_EQ(slow_disk(took({0.1, 0.1, 0.9}), 0.1), "") << "less than a second";
  EXPECT_EQ(slow_disk(took({2.0, 2.0, 3.0}), 0.0), "") << "all alike, and nothing to compare with";
  EXPECT_EQ(slow_disk(took({0.2, 4.0, 0.2}), 0.2),
            "slow disk: rank 1 (node1) took 4.0 s to write its shard, the median of all ranks is 0.20 s");
  EXPECT_EQ(slow_disk(took({6.0, 5.0}), 0.5),
            "slow disk: ranks took 5.0 s (median) to write their shards, 0.50 s at best before");
  EXPECT_DOUBLE_EQ(median_seconds(took({3.0, 1.0, 2.0, 4.0})), 2.0);
}

}  // namespace
}  // namespace athanor
