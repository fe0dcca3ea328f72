#include "src/optim/loss_spike_guard.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "src/base/error.hpp"

namespace athanor {
namespace {

double usual(int step) { return 2.0 + 0.1 * std::sin(step); }

// A loss or a norm far above the usual is skipped; one far below is not; and a guard that is off skips nothing.
TEST(LossSpikeGuard, SkipsUpwardOutliers) {
  LossSpikeGuard guard({.z_threshold = 4.0, .window = 16}), off({});
  for (int step = 0; step < 40; ++step) {
    EXPECT_FALSE(guard.should_skip(usual(step), usual(step)));
    EXPECT_FALSE(off.should_skip(usual(step), usual(step)));
  }
  EXPECT_FALSE(off.should_skip(100.0, 1.0));
  EXPECT_FALSE(LossSpikeGuard(guard).should_skip(0.1, 2.0));
  EXPECT_TRUE(LossSpikeGuard(guard).should_skip(3.0, 2.0));
  EXPECT_TRUE(guard.should_skip(2.0, 50.0));
}

// Before half a window is seen there is no usual, so nothing is skipped.
TEST(LossSpikeGuard, WaitsForHistory) {
  LossSpikeGuard guard({.z_threshold = 1.0, .window = 16});
  for (int step = 0; step < 7; ++step) EXPECT_FALSE(guard.should_skip(usual(step), 1.0 + 0.01 * step));
  EXPECT_FALSE(guard.should_skip(1e6, 1.0));
}

// A lasting change of level is accepted within a window.
TEST(LossSpikeGuard, AcceptsANewLevel) {
  LossSpikeGuard guard({.z_threshold = 3.0, .window = 16});
  for (int step = 0; step < 20; ++step) guard.should_skip(usual(step), 1.0 + 0.01 * usual(step));
  bool skipped = true;
  for (int step = 0; step < 16; ++step) skipped = guard.should_skip(5.0 + usual(step), 1.0 + 0.01 * usual(step));
  EXPECT_FALSE(skipped);
}

// A restored guard decides as the one that was saved, and keeps the same state.
TEST(LossSpikeGuard, RestoresExactly) {
  LossSpikeGuard guard({.z_threshold = 2.0, .window = 8}), copy({.z_threshold = 2.0, .window = 8});
  for (int step = 0; step < 13; ++step) guard.should_skip(usual(step) / 3.0, usual(step) / 7.0);
  copy.restore(guard.state());
  EXPECT_EQ(copy.state(), guard.state());
  for (int step = 13; step < 40; ++step) {
    const double loss = usual(step * step) / 3.0;
    EXPECT_EQ(copy.should_skip(loss, usual(step)), guard.should_skip(loss, usual(step)));
  }
  EXPECT_EQ(copy.state(), guard.state());
  LossSpikeGuard off({});
  off.restore(LossSpikeGuard({}).state());
}

// A state of another window, or a part of one, is refused.
TEST(LossSpikeGuard, RefusesForeignState) {
  LossSpikeGuard guard({.z_threshold = 2.0, .window = 8});
  EXPECT_THROW(guard.restore(LossSpikeGuard({.z_threshold = 2.0, .window = 9}).state()), DataError);
  EXPECT_THROW(guard.restore(guard.state().substr(0, 6)), DataError);
  EXPECT_THROW(guard.restore("nonsense"), DataError);
}

}  // namespace
}  // namespace athanor
