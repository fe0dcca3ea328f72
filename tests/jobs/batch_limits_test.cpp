// When a job stops before its batch system ends it, and which rank is named as slow: hand-worked.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "jobs/batch_job.hpp"
#include "jobs/stages/step_times.hpp"
#include "jobs/stop_signal.hpp"

namespace athanor {
namespace {

// Every form in which squeue writes a time, and what is none.
TEST(BatchJob, ReadsDurationsOfSlurm) {
  EXPECT_EQ(parse_slurm_duration("1-02:03:04"), 93784.0);
  EXPECT_EQ(parse_slurm_duration("2-00:00:00"), 172800.0);
  EXPECT_EQ(parse_slurm_duration("02:03:04"), 7384.0);
  EXPECT_EQ(parse_slurm_duration("59:01"), 3541.0);
  EXPECT_EQ(parse_slurm_duration("0:07"), 7.0);
  for (const char* text : {"UNLIMITED", "NOT_SET", "INVALID", "", "1-2", ":", "3:x"})
    EXPECT_FALSE(parse_slurm_duration(text)) << text;
}

// Slurm's end of the job is a number of seconds since 1970.
TEST(BatchJob, ReadsItsEndFromTheEnvironment) {
  ::setenv("SLURM_JOB_END_TIME", "1", 1);
  EXPECT_LT(seconds_left_in_batch_job().value(), -1e9);
  ::setenv("SLURM_JOB_END_TIME", "soon", 1);
  EXPECT_FALSE(seconds_left_in_batch_job());
  ::unsetenv("SLURM_JOB_END_TIME");
}

// A job of 100 s stops at once when a save of 70 s must still fit, and goes on when it takes 10 s.
TEST(StopSignal, LeavesRoomForASave) {
  HostGroup world = HostGroup::world();
  const StopSignal::Limits limits{0.0, 100.0};
  {
    StopSignal stop("/nowhere/STOP", limits);
    EXPECT_FALSE(stop.agreed(world));
    stop.note_save(10.0);  // 5 + 15 s are kept back
    EXPECT_FALSE(stop.agreed(world));
    stop.note_save(70.0);  // 5 + 105 s
    EXPECT_TRUE(stop.agreed(world));
    EXPECT_EQ(stop.reason(), world.rank() == 0 ? "the end of the Slurm job" : "another rank");
  }
  StopSignal stop("/nowhere/STOP", {0.0, 0.01});
  std::this_thread::sleep_for(std::chrono::milliseconds(8));
  EXPECT_TRUE(stop.agreed(world)) << "nothing was measured: a quarter is kept back";
}

constexpr std::int64_t kMillisecond = 1'000'000;

// The slowest is named when it is above the factor and above what may be noise.
TEST(Straggler, IsTheRankAboveTheMedian) {
  const auto found = find_straggler(std::array{100 * kMillisecond, 110 * kMillisecond, 260 * kMillisecond}, 2.0);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->rank, 2);
  EXPECT_DOUBLE_EQ(found->seconds, 0.26);
  EXPECT_DOUBLE_EQ(found->median, 0.11);
  EXPECT_FALSE(find_straggler(std::array{100 * kMillisecond, 110 * kMillisecond, 160 * kMillisecond}, 2.0));
  EXPECT_TRUE(find_straggler(std::array{100 * kMillisecond, 300 * kMillisecond}, 2.0)) << "of two, the slower";
  EXPECT_FALSE(find_straggler(std::array{1 * kMillisecond, 9 * kMillisecond}, 2.0)) << "noise";
}

}  // namespace
}  // namespace athanor
