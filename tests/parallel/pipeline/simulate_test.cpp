// The clock against published numbers.
#include "parallel/pipeline/simulate.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"
#include "tests/parallel/pipeline/all_schedules.hpp"

namespace athanor {
namespace {

// 1F1B and GPipe idle (p-1)(F+B) on every rank, whatever F, I and W are.
TEST(Simulate, OneForwardOneBackwardBubble) {
  for (const int pp : {1, 2, 4, 8})
    for (const ActionTimes& times : {ActionTimes{}, ActionTimes{2, 3, 1.5, 6, 0}})
      for (const PipelineSchedule& schedule : {make_1f1b(pp, 16), make_gpipe(pp, 16)}) {
        const ScheduleTimes result = simulate(schedule, times);
        for (int rank = 0; rank < pp; ++rank)
          EXPECT_DOUBLE_EQ(result.idle(rank), (pp - 1) * (times.f + times.i + times.w))
              << testing::shape_of(schedule) << " rank " << rank;
      }
}

// Interleaving v chunks a rank divides that by v (in time of a whole rank's layers: a chunk takes 1/v of it).
TEST(Simulate, InterleavedBubble) {
  for (const int pp : {1, 2, 4, 8})
    for (const int v : {1, 2, 4}) {
      const double part = 1.0 / v;
      const ScheduleTimes result = simulate(make_interleaved(pp, 4 * pp, v), {part, part, part, 3 * part, 0});
      for (int rank = 0; rank < pp; ++rank) EXPECT_NEAR(result.idle(rank), 3.0 * (pp - 1) / v, 1e-9) << pp << " " << v;
    }
}

// Idle shares listed for F = I = W (percent).
TEST(Simulate, IdleShares) {
  const auto share = [](const PipelineSchedule& schedule) {
    return 100.0 * simulate(schedule, ActionTimes{}).idle_share();
  };
  EXPECT_NEAR(share(make_1f1b(8, 32)), 17.9, 0.05);
  EXPECT_NEAR(share(make_interleaved(8, 32, 2)), 9.9, 0.05);
  EXPECT_NEAR(share(make_interleaved(8, 32, 4)), 5.2, 0.05);
  EXPECT_NEAR(share(make_1f1b(16, 64)), 19.0, 0.05);
  EXPECT_NEAR(share(make_interleaved(16, 64, 2)), 10.5, 0.05);
  EXPECT_NEAR(share(make_interleaved(16, 64, 4)), 5.5, 0.05);
  // 16 stages, 120 micro-batches.
  EXPECT_NEAR(share(make_1f1b(16, 120)), 11.1, 0.05);
  EXPECT_NEAR(share(make_zb1(16, 120)), 4.0, 0.05);
  EXPECT_NEAR(share(make_dualpipev(8, 60)), 3.7, 0.05);
}

// ZB-H1 idles (p-1)(F+I-W), a third of 1F1B where they are equal: 7 against 21 units at p = 8, m = 16.
TEST(Simulate, ZeroBubbleH1) {
  EXPECT_DOUBLE_EQ(simulate(make_zb1(8, 16), {}).worst_idle(), 7.0);
  EXPECT_DOUBLE_EQ(simulate(make_1f1b(8, 16), {}).worst_idle(), 21.0);
  EXPECT_DOUBLE_EQ(simulate(make_zb1(4, 12), {2, 2, 1, 5, 0}).worst_idle(), 3 * (2 + 2 - 1));
}

// DualPipeV idles (R-1)(FB+B-3W) with 2R stages: 6 units at 8 stages, 20 micro-batches, 4.5 where a pair takes 2.5; at
// most 9 activations.
TEST(Simulate, DualPipeVBubble) {
  const ScheduleTimes plain = simulate(make_dualpipev(4, 20), {});
  EXPECT_DOUBLE_EQ(plain.worst_idle(), 6.0);
  EXPECT_EQ(plain.peak_activations, (std::vector<int>{9, 9, 9, 9}));
  EXPECT_DOUBLE_EQ(simulate(make_dualpipev(4, 20), {1, 1, 1, 2.5, 0}).worst_idle(), 4.5);
}

// Two ranks by hand: begin and end of every action, with a send that takes half a unit.
TEST(Simulate, TwoRanksByHand) {
  const ScheduleTimes result = simulate(make_1f1b(2, 1), {1, 2, 3, 0, 0.5});
  ASSERT_EQ(result.actions.size(), 2U);
  ASSERT_EQ(result.actions[0].size(), 2U);
  EXPECT_DOUBLE_EQ(result.actions[0][0].end, 1.0);    // F of chunk 0
  EXPECT_DOUBLE_EQ(result.actions[1][0].begin, 1.5);  // F of chunk 1
  EXPECT_DOUBLE_EQ(result.actions[1][1].begin, 2.5);  // its B, at once
  EXPECT_DOUBLE_EQ(result.actions[1][1].end, 7.5);
  EXPECT_DOUBLE_EQ(result.actions[0][1].begin, 8.0);
  EXPECT_DOUBLE_EQ(result.makespan, 13.0);
  EXPECT_DOUBLE_EQ(result.busy[0], 6.0);
  EXPECT_DOUBLE_EQ(result.idle(1), 7.0);
  EXPECT_NEAR(result.idle_share(), 14.0 / 26.0, 1e-12);
}

// Times that are no times, and schedules that cannot run, are refused.
TEST(Simulate, Refuses) {
  EXPECT_THROW(simulate(make_1f1b(2, 1), {-1, 1, 1, 1, 0}), ConfigError);
  EXPECT_THROW(simulate(make_1f1b(2, 1), {1, 1, 1, 1, std::numeric_limits<double>::quiet_NaN()}), ConfigError);
  PipelineSchedule incomplete = make_1f1b(2, 1);
  incomplete.rank_programs[0].pop_back();
  EXPECT_THROW(simulate(incomplete, {}), ConfigError);
}

}  // namespace
}  // namespace athanor
