#include "src/optim/token_schedules.hpp"

#include <gtest/gtest.h>

namespace athanor {
namespace {

// DeepSeek-V3: lambda 0.3 for 10T then 0.1; gamma 1e-3 for 14.3T then 0 (FACTS 2.1).
TEST(PhaseValue, DeepSeekV3) {
  const OptimizerOptions v3 = deepseek_v3_optimizer();
  const std::int64_t total = 14'800'000'000'000;
  EXPECT_EQ(phase_value(v3.mtp_weight, 0, total), 0.3);
  EXPECT_EQ(phase_value(v3.mtp_weight, 9'999'000'000'000, total), 0.3);
  EXPECT_EQ(phase_value(v3.mtp_weight, 10'001'000'000'000, total), 0.1);
  EXPECT_EQ(phase_value(v3.bias_speed, 14'299'000'000'000, total), 1e-3);
  EXPECT_EQ(phase_value(v3.bias_speed, 14'301'000'000'000, total), 0.0);
}

// The batch of V3: 3072 at the start, halfway at half of 469B tokens, 15360 from there on, always a whole granule.
TEST(BatchRamp, DeepSeekV3) {
  const BatchRamp ramp(deepseek_v3_optimizer().batch_ramp, 15360);
  EXPECT_EQ(ramp.sequences(0), 3072);
  EXPECT_EQ(ramp.sequences(234'500'000'000), 9216);
  EXPECT_EQ(ramp.sequences(469'000'000'000), 15360);
  std::int64_t last = 0;
  for (std::int64_t billions = 0; billions < 500; ++billions) {
    const std::int64_t sequences = ramp.sequences(billions * 1'000'000'000);
    EXPECT_EQ(sequences % 64, 0);
    EXPECT_GE(sequences, last);
    last = sequences;
  }
}

// Without a ramp every step has the full batch.
TEST(BatchRamp, IsOffByDefault) { EXPECT_EQ(BatchRamp({}, 8).sequences(0), 8); }

// The tokens of a run are what its steps add up to, by hand: 2, 2, 4, 6, 8, 8 sequences of 100 tokens.
TEST(TokensOfRun, CountsTheRamp) {
  EXPECT_EQ(tokens_of_run(10, BatchRamp({}, 8), 100), 8000);
  const BatchRamp ramp({.start_sequences = 2, .ramp_tokens = 1000, .granule = 2}, 8);
  EXPECT_EQ(ramp.sequences(200), 2);
  EXPECT_EQ(ramp.sequences(400), 4);
  EXPECT_EQ(ramp.sequences(800), 6);
  EXPECT_EQ(ramp.sequences(1400), 8);
  EXPECT_EQ(tokens_of_run(6, ramp, 100), 3000);
}

}  // namespace
}  // namespace athanor
