#include "src/base/dtype.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "src/base/error.hpp"

namespace athanor {
namespace {

// 1 + 2^-8 lies half way between two bf16 values: ties go to even.
TEST(Bf16, RoundsToNearestEven) {
  EXPECT_EQ(static_cast<float>(bf16(1.0F + 0x1p-8F)), 1.0F);
  EXPECT_EQ(static_cast<float>(bf16(1.0F + 3 * 0x1p-8F)), 1.0F + 0x1p-6F);
  EXPECT_EQ(static_cast<float>(bf16(1.0F + 0x1p-8F + 0x1p-16F)), 1.0F + 0x1p-7F);
  EXPECT_TRUE(std::isnan(static_cast<float>(bf16(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_TRUE(std::isinf(static_cast<float>(bf16(std::numeric_limits<float>::max()))));
}

// NaN whose upper half alone would be an infinity, or that rounding would carry over, stays NaN.
TEST(Bf16, KeepsEveryNan) {
  for (const std::uint32_t bits : {0x7f800001U, 0x7fffffffU, 0xff800001U, 0xffffffffU})
    EXPECT_TRUE(std::isnan(static_cast<float>(bf16(std::bit_cast<float>(bits))))) << bits;
}

TEST(DType, NamesRoundTrip) {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::i64, DType::i32, DType::u8})
    EXPECT_EQ(dtype_from_string(to_string(dtype)), dtype);
  EXPECT_THROW(dtype_from_string("float"), ConfigError);
}

}  // namespace
}  // namespace athanor
