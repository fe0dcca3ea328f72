// The longest completion allowed, by steps done.
#include "jobs/rl/length_stages.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"

namespace athanor {
namespace {

// From its step on each length holds; without a list, or before its first step, the longest does.
TEST(LengthStages, ByHand) {
  const LengthStages stages("0:32, 100:64", 90);
  EXPECT_EQ(stages.tokens_after(0), 32);
  EXPECT_EQ(stages.tokens_after(99), 32);
  EXPECT_EQ(stages.tokens_after(100), 64);
  EXPECT_EQ(LengthStages("", 90).tokens_after(7), 90);
  EXPECT_EQ(LengthStages("10:20", 90).tokens_after(9), 90);
}

// What is no rising list of lengths up to the longest is refused before anything runs.
TEST(LengthStages, RefusesNonsense) {
  for (const char* text : {"32", "0:", "0:x", "-1:5", "0:91", "0:0", "5:10, 5:20", "5:10, 4:20", "0:32;100:64"})
    EXPECT_THROW(LengthStages(text, 90), ConfigError) << text;
}

}  // namespace
}  // namespace athanor
