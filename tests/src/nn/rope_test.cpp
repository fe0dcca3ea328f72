#include "src/nn/rope.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/src/nn/layer_bench.hpp"

namespace athanor {
namespace {

using testing::LayerBench;

void expect_relative(double value, double wanted) { EXPECT_NEAR(value / wanted, 1.0, 1e-8) << value; }

// Promises: without stretch the frequencies are theta^(-2i/r). Golden values: r = 64, theta = 1e4.
TEST(RopeFrequencies, PlainGolden) {
  const std::vector<double> f = rope_frequencies({}, 64);
  ASSERT_EQ(f.size(), 32u);
  EXPECT_EQ(f[0], 1.0);
  expect_relative(f[10], 0.0562341325190349);
  expect_relative(f[16], 0.01);
  expect_relative(f[31], 1.3335214321633240e-4);
}

// Promises: YaRN's ramp as DeepSeek-V3's inference code computes it (factor 40, low 10, high 23).
TEST(RopeFrequencies, YarnGolden) {
  const std::vector<double> f = rope_frequencies({.scaling = RopeScaling::yarn, .factor = 40.0}, 64);
  EXPECT_EQ(f[0], 1.0);
  expect_relative(f[10], 0.0562341325190349);
  EXPECT_NEAR(f[11], 0.0390069266, 1e-10);
  EXPECT_NEAR(f[16], 0.0055, 1e-12);
  EXPECT_NEAR(f[22], 1.77827941e-4, 1e-12);
  EXPECT_NEAR(f[23], 3.33380358e-5, 1e-13);
  EXPECT_NEAR(f[31], 3.33380358e-6, 1e-14);
}

// Promises: the softmax factor is m(factor, mscale_all_dim)^2; with 1/sqrt(192) it gives V3's and V2-Lite's scales.
TEST(RopeSoftmaxFactor, Golden) {
  RopeConfig config{.scaling = RopeScaling::yarn, .factor = 40.0};
  EXPECT_NEAR(yarn_mscale(40.0, 1.0), 1.36889, 5e-6);
  EXPECT_NEAR(rope_softmax_factor(config), 1.87385, 5e-6);
  EXPECT_NEAR(rope_softmax_factor(config) / std::sqrt(192.0), 0.135234, 5e-7);
  config.mscale = config.mscale_all_dim = 0.707;
  EXPECT_NEAR(rope_softmax_factor(config), 1.58963, 5e-6);
  EXPECT_NEAR(rope_softmax_factor(config) / std::sqrt(192.0), 0.114721, 5e-7);
  EXPECT_EQ(rope_softmax_factor({}), 1.0);
}

// Promises: Llama-3's stretch keeps short waves, divides long ones by the factor and blends between. Head dim 128.
TEST(RopeFrequencies, Llama3Golden) {
  const RopeConfig config{
      .theta = 500000.0, .scaling = RopeScaling::llama3, .factor = 8.0, .original_max_positions = 8192};
  const std::vector<double> f = rope_frequencies(config, 128);
  EXPECT_NEAR(f[28], 3.21144599e-3, 1e-11);
  EXPECT_NEAR(f[29], 2.16657076e-3, 1e-11);
  EXPECT_NEAR(f[32], 5.24846161e-4, 1e-12);
  EXPECT_NEAR(f[34], 1.78507813e-4, 1e-12);
  for (std::size_t i = 35; i < 64; ++i) expect_relative(f[i], std::pow(500000.0, -static_cast<double>(i) / 64.0) / 8.0);
}

// Promises: the interleaved layout turns pairs (2i, 2i+1), the half layout (i, i + r/2); entries before the offset
// stay.
TEST(RopeTablesTest, TurnsPairsByHand) {
  LayerBench bench({.num_sequences = 1, .tokens_per_sequence = 3});
  const RopeConfig config{.theta = 100.0};  // r = 4: frequencies 1 and 0.1
  const std::vector<double> rows{9, 1, 2, 3, 4, 9, 1, 2, 3, 4, 9, 1, 2, 3, 4};
  for (const RopeLayout layout : {RopeLayout::interleaved, RopeLayout::half}) {
    const RopeTables tables(bench.ops(), config, layout, 4, 8, DType::f64, bench.stream());
    const Tensor x = testing::tensor_of(bench.ops(), rows, {3, 5}, DType::f64, bench.stream());
    tables.apply(bench.evaluation(), x, bench.batch().positions_T, 1, 1);
    const std::vector<double> y = bench.values(x);
    const bool interleaved = layout == RopeLayout::interleaved;
    const double c = std::cos(2.0), s = std::sin(2.0), partner = interleaved ? 2.0 : 3.0;
    EXPECT_EQ(y[10], 9.0);
    EXPECT_NEAR(y[11], c * 1.0 - s * partner, 1e-14);
    EXPECT_NEAR(y[interleaved ? 12 : 13], s * 1.0 + c * partner, 1e-14);
    EXPECT_NEAR(y[14],
                interleaved ? std::sin(0.2) * 3.0 + std::cos(0.2) * 4.0 : std::sin(0.2) * 2.0 + std::cos(0.2) * 4.0,
                1e-14);
    for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(y[i], rows[i]);  // position 0
  }
}

// Promises: apply_backward is the transpose of apply, also where YaRN scales cos and sin.
TEST(RopeTablesTest, BackwardIsTheTranspose) {
  LayerBench bench({.num_sequences = 2, .tokens_per_sequence = 5, .split_documents = true});
  const RopeConfig config{.scaling = RopeScaling::yarn, .factor = 8.0, .mscale = 1.0, .mscale_all_dim = 0.0};
  const RopeTables tables(bench.ops(), config, RopeLayout::half, 8, 8, DType::f64, bench.stream());
  const Tensor x = bench.random({10, 24}, 1), y = bench.random({10, 24}, 2);
  const Tensor rx = bench.random({10, 24}, 1), ry = bench.random({10, 24}, 2);
  tables.apply(bench.evaluation(), rx, bench.batch().positions_T, 2, 4);
  tables.apply_backward(bench.evaluation(), ry, bench.batch().positions_T, 2, 4);
  EXPECT_NEAR(bench.dot(rx, y), bench.dot(x, ry), 1e-12);
  EXPECT_GT(std::abs(bench.dot(rx, y) - bench.dot(x, y)), 1e-3);
}

}  // namespace
}  // namespace athanor
