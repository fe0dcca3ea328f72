// How long a rank may stand still: hand-worked.
#include <gtest/gtest.h>

#include "parallel/deadlines.hpp"

namespace athanor {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

// The ceiling until a kind was seen often enough, then a multiple of the longest, between floor and ceiling.
TEST(Deadlines, AreLearnedFromTheLongestOfTheirKind) {
  Deadlines deadlines;
  deadlines.set({.floor = 2.0, .ceiling = 50.0, .factor = 10.0});
  EXPECT_EQ(deadlines.limit(JobPhase::step, 5).seconds, 50.0);
  deadlines.note(JobPhase::step, 5, kSecond / 10);
  deadlines.note(JobPhase::step, 5, kSecond / 20);
  EXPECT_EQ(deadlines.limit(JobPhase::step, 5).seconds, 50.0) << "two waits are not enough";
  deadlines.note(JobPhase::step, 5, kSecond / 20);
  EXPECT_EQ(deadlines.limit(JobPhase::step, 5).seconds, 2.0) << "the floor";
  deadlines.note(JobPhase::step, 5, 3 * kSecond);
  EXPECT_EQ(deadlines.limit(JobPhase::step, 5).seconds, 30.0);
  EXPECT_EQ(deadlines.limit(JobPhase::step, 5).longest, 3.0);
  deadlines.note(JobPhase::step, 5, 30 * kSecond);
  EXPECT_EQ(deadlines.limit(JobPhase::step, 5).seconds, 50.0) << "the ceiling";
  EXPECT_EQ(deadlines.limit(JobPhase::step, 4).seconds, 50.0) << "another kind";
  EXPECT_EQ(deadlines.limit(JobPhase::rollout, 5).seconds, 50.0) << "another phase";
}

// Where ranks wait for files all bounds are ten times as long; without a ceiling there is no deadline.
TEST(Deadlines, AreLongerWhereFilesAreWaitedFor) {
  Deadlines deadlines;
  for (int i = 0; i < 3; ++i) deadlines.note(JobPhase::saving, 1, kSecond / 10);
  EXPECT_EQ(deadlines.limit(JobPhase::saving, 1).seconds, 0.0) << "none was set";
  deadlines.set({.floor = 2.0, .ceiling = 50.0, .factor = 10.0});
  EXPECT_EQ(deadlines.limit(JobPhase::saving, 1).seconds, 20.0);
  EXPECT_EQ(deadlines.limit(JobPhase::data, 1).seconds, 500.0);
}

// Phases read back as they are written.
TEST(JobPhase, HasAName) {
  for (const auto name : kJobPhaseNames) {
    ASSERT_TRUE(job_phase_from_string(name));
    EXPECT_EQ(to_string(*job_phase_from_string(name)), name);
  }
  EXPECT_FALSE(job_phase_from_string("nap"));
}

}  // namespace
}  // namespace athanor
