#include "src/optim/lr_schedule.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "src/base/error.hpp"

namespace athanor {
namespace {

constexpr std::int64_t kTrillion = 1'000'000'000'000;
constexpr std::int64_t kLate = 1'000'000;  // a step past every warm-up

// The published schedule of DeepSeek-V3 (FACTS 2.1, values rounded to five digits there).
TEST(LrSchedule, DeepSeekV3GoldenValues) {
  const LrSchedule lr(deepseek_v3_optimizer().lr, 0);
  EXPECT_DOUBLE_EQ(lr.rate(1, 0), 2.2e-4 / 2000);
  EXPECT_DOUBLE_EQ(lr.rate(1000, 0), 1.1e-4);
  EXPECT_DOUBLE_EQ(lr.rate(2000, 0), 2.2e-4);
  EXPECT_DOUBLE_EQ(lr.rate(kLate, 9 * kTrillion), 2.2e-4);
  EXPECT_NEAR(lr.rate(kLate, 11 * kTrillion), 1.9473e-4, 5e-9);
  EXPECT_NEAR(lr.rate(kLate, 12'150'000'000'000), 1.21e-4, 5e-10);
  EXPECT_NEAR(lr.rate(kLate, 13 * kTrillion), 6.3396e-5, 5e-10);
  EXPECT_NEAR(lr.rate(kLate, 14'300'000'000'000), 2.2e-5, 1e-15);
  EXPECT_NEAR(lr.rate(kLate, 14'632'000'000'000), 2.2e-5, 1e-15);
  EXPECT_NEAR(lr.rate(kLate, 14'634'000'000'000), 7.3e-6, 1e-15);
  EXPECT_NEAR(lr.rate(kLate, 15 * kTrillion), 7.3e-6, 1e-15);
}

// V2-Lite: 4.2e-4, times 0.316 at 80 % and again at 90 % of 5.7T tokens, after 2000 steps of warm-up.
TEST(LrSchedule, DeepSeekV2LiteSteps) {
  const LrSchedule lr({.schedule = "deepseek_v2_lite", .peak = 4.2e-4, .warmup_steps = 2000}, 5'700'000'000'000);
  EXPECT_DOUBLE_EQ(lr.rate(500, 0), 4.2e-4 / 4);
  EXPECT_DOUBLE_EQ(lr.rate(kLate, 4'559'000'000'000), 4.2e-4);
  EXPECT_DOUBLE_EQ(lr.rate(kLate, 4'561'000'000'000), 4.2e-4 * 0.316);
  EXPECT_DOUBLE_EQ(lr.rate(kLate, 5'131'000'000'000), 4.2e-4 * 0.316 * 0.316);
}

// A short run has the shape of a long one: the schedule ends where the run ends.
TEST(LrSchedule, ScalesToTheRun) {
  const LrSchedule lr({.schedule = "deepseek_v3", .peak = 1.0}, 14800);
  EXPECT_DOUBLE_EQ(lr.rate(1, 9000), 1.0);
  EXPECT_NEAR(lr.rate(1, 12150), 0.55, 1e-12);
  EXPECT_NEAR(lr.rate(1, 14700), 7.3 / 220.0, 1e-12);
}

// The plain shapes, by hand at the start, the middle and the end.
TEST(LrSchedule, PlainShapes) {
  const auto at = [](const char* schedule, std::int64_t tokens) {
    return LrSchedule({.schedule = schedule, .peak = 2.0, .floor_ratio = 0.2, .decay_fraction = 0.5}, 1000)
        .rate(1, tokens);
  };
  EXPECT_DOUBLE_EQ(at("constant", 999), 2.0);
  EXPECT_DOUBLE_EQ(at("linear", 0), 2.0);
  EXPECT_DOUBLE_EQ(at("linear", 500), 1.2);
  EXPECT_DOUBLE_EQ(at("linear", 5000), 0.4);
  EXPECT_DOUBLE_EQ(at("cosine", 0), 2.0);
  EXPECT_NEAR(at("cosine", 500), 1.2, 1e-15);
  EXPECT_NEAR(at("cosine", 250), 0.4 + 1.6 * (0.5 + 0.5 * std::sqrt(0.5)), 1e-15);
  EXPECT_DOUBLE_EQ(at("cosine", 1000), 0.4);
  EXPECT_DOUBLE_EQ(at("wsd", 499), 2.0);
  EXPECT_DOUBLE_EQ(at("wsd", 750), 1.2);
}

// Bad options name the key and what would do.
TEST(OptimizerOptions, RefusesNonsense) {
  const auto error = [](const std::function<void(OptimizerOptions&)>& spoil) -> std::string {
    OptimizerOptions options;
    spoil(options);
    try {
      options.validate(16);
    } catch (const ConfigError& caught) {
      return caught.what();
    }
    return "no error";
  };
  EXPECT_EQ(error([](auto&) {}), "no error");
  EXPECT_NE(error([](auto& o) { o.lr.schedule = "cosin"; }).find("choose constant, linear, cosine"), std::string::npos);
  EXPECT_EQ(error([](auto& o) { o.adamw.beta2 = 1.0; }), "optimizer.beta2 = 1: wanted at least 0 and below 1");
  EXPECT_NE(error([](auto& o) { o.lr.peak = -1; }).find("lr.peak"), std::string::npos);
  EXPECT_NE(error([](auto& o) { o.mtp_weight.switch_fraction = 2; }).find("mtp_weight.switch_fraction"),
            std::string::npos);
  EXPECT_NE(error([](auto& o) {
              o.batch_ramp = {.start_sequences = 32, .ramp_tokens = 10};
            }).find("from 1 to data.batch_sequences = 16"),
            std::string::npos);
  EXPECT_NE(error([](auto& o) {
              o.batch_ramp = {.start_sequences = 6, .ramp_tokens = 10, .granule = 4};
            }).find("batch_ramp.granule"),
            std::string::npos);
  EXPECT_NE(error([](auto& o) { o.spike_guard.window = 1; }).find("spike_guard.window"), std::string::npos);
}

}  // namespace
}  // namespace athanor
