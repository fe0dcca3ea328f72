// exp and what is made of it, written so that loops over them vectorise (no branch, no call, no table).
// Law: a value depends on its argument alone, not on its place in the loop: every product-sum is an explicit fma, so
// vector body and remainder give the same bits. f32: at most 1.1 ulp from exp on [-87.33, 88.37]; below is 0 (also
// -inf), above is +inf, NaN stays NaN. f64: the C library's exp, exact to its last bit, not vectorised.
// The polynomial interpolates (exp(r) - 1 - r) / r^2 at the Chebyshev nodes of |r| <= ln(2)/2; relative error 1.1e-8.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace athanor::cpu {

inline float exp(float x) {
  // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
  constexpr float kRound = 0x1.8p23F;
  constexpr float kLog2E = 0x1.715476p0F;
  constexpr float kLn2High = 0x1.62e400p-1F, kLn2Low = 0x1.7f7d1cp-20F;
  const float shifted = std::fma(x, kLog2E, kRound);
  const float n = shifted - kRound;
  const float r = std::fma(n, -kLn2Low, std::fma(n, -kLn2High, x));
  float q = 0x1.6d117cp-10F;
  q = std::fma(q, r, 0x1.120be2p-7F);
  q = std::fma(q, r, 0x1.555518p-5F);
  q = std::fma(q, r, 0x1.5554dcp-3F);
  q = std::fma(q, r, 0.5F);
  const float p = std::fma(r * r, q, r) + 1.0F;
  const float power = std::bit_cast<float>((std::bit_cast<std::uint32_t>(shifted) << 23) + 0x3f800000U);
  float y = p * power;
  y = x < -87.33F ? 0.0F : y;
  y = x > 88.37F ? std::numeric_limits<float>::infinity() : y;
  return y;
}
/// Not inlined: inside an `omp simd` loop the compiler would otherwise take the 4-ulp vector exp for the body and the
/// exact one for the remainder.
[[gnu::noinline]] inline double exp(double x) { return std::exp(x); }

/// 1 / (1 + exp(-x)).
template <class Acc>
inline Acc sigmoid(Acc x) {
  return Acc{1} / (Acc{1} + cpu::exp(-x));
}

}  // namespace athanor::cpu
