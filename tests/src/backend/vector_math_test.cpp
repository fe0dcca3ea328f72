// The vectorised exp: its error over the whole range, its borders, and that a place in a loop does not matter.
#include "src/backend/cpu/vector_math.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

namespace athanor {
namespace {

std::vector<float> exp_of(const std::vector<float>& x) {
  std::vector<float> y(x.size());
#pragma omp simd
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = cpu::exp(x[i]);
  return y;
}

// Promise: at most 1.1 units in the last place over every 997th float between the borders.
TEST(VectorMath, ExpIsWithinAUnitInTheLastPlace) {
  std::vector<float> x;
  for (std::uint64_t bits = 0; bits < (std::uint64_t{1} << 32); bits += 997) {
    const auto value = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    if (value >= -87.33F && value <= 88.37F) x.push_back(value);
  }
  const auto y = exp_of(x);
  double worst = 0.0;
  float at = 0.0F;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double wanted = std::exp(static_cast<double>(x[i]));
    const double unit = std::ldexp(1.0, std::ilogb(wanted) - 23);
    const double error = std::abs(static_cast<double>(y[i]) - wanted) / unit;
    if (error > worst) worst = error, at = x[i];
  }
  EXPECT_LE(worst, 1.1) << "at " << at;
}

// Promise: 0 far below, infinity far above, 1 at 0, NaN stays.
TEST(VectorMath, ExpKeepsItsBorders) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const auto y = exp_of({-kInfinity, -1000.0F, -87.4F, 0.0F, 88.4F, 1e30F, kInfinity, std::nanf("")});
  EXPECT_EQ(std::vector<float>(y.begin(), y.begin() + 7),
            (std::vector<float>{0, 0, 0, 1, kInfinity, kInfinity, kInfinity}));
  EXPECT_TRUE(std::isnan(y[7]));
}

// Promise: the same argument gives the same bits in the vector body, in the remainder and alone.
TEST(VectorMath, ExpDoesNotDependOnItsPlace) {
  std::vector<float> x(67);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = -0.731F * static_cast<float>(i);
  const auto all = exp_of(x);
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(exp_of({x[i]})[0], all[i]);
}

}  // namespace
}  // namespace athanor
