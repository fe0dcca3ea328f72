#include "src/base/rng.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace athanor {
namespace {

// Known answers published with the Philox reference implementation (Random123 kat_vectors, philox4x32 10).
TEST(Philox, ReproducesThePublishedVectors) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (std::array<std::uint32_t, 4>{0x6627e8d5U, 0xe169c58dU, 0xbc57ac4cU, 0x9b00dbd8U}));
  EXPECT_EQ(philox4x32({0x243f6a88U, 0x85a308d3U, 0x13198a2eU, 0x03707344U}, {0xa4093822U, 0x299f31d0U}),
            (std::array<std::uint32_t, 4>{0xd16cfe09U, 0x94fdccebU, 0x5001e420U, 0x24126ea1U}));
}

TEST(Philox, NormalsHaveTheMomentsOfANormal) {
  const Philox random(7, RandomPurpose::test, 3);
  double sum = 0, squares = 0;
  constexpr int kCount = 20000;
  for (std::uint64_t i = 0; i < kCount; ++i) {
    const double x = random.normal(i);
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kCount, 0.0, 4.0 / std::sqrt(kCount));
  EXPECT_NEAR(squares / kCount, 1.0, 4.0 * std::sqrt(2.0 / kCount));
}

TEST(Philox, PurposesAndStreamsDiffer) {
  EXPECT_NE(Philox(1, RandomPurpose::test).word64(0), Philox(1, RandomPurpose::fim).word64(0));
  EXPECT_NE(Philox(1, RandomPurpose::test, 1).word64(0), Philox(1, RandomPurpose::test, 2).word64(0));
  EXPECT_NE(Philox(1, RandomPurpose::test).word64(0), Philox(2, RandomPurpose::test).word64(0));
}

// Every count, also those that are no power of two: each index is hit exactly once.
TEST(PermutedIndex, IsAPermutation) {
  for (const std::uint64_t count : {1U, 2U, 3U, 7U, 64U, 1000U, 4097U}) {
    const Philox random(11, RandomPurpose::data_order, count);
    std::set<std::uint64_t> seen;
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto to = permuted_index(random, count, i);
      EXPECT_LT(to, count);
      seen.insert(to);
    }
    EXPECT_EQ(seen.size(), count);
  }
}

}  // namespace
}  // namespace athanor
