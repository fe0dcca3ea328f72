// E4M3, the 8-bit floating type of DeepSeek-V3's training (OCP "OFP8", fn: no infinity): sign 1, exponent 4 (bias 7),
// mantissa 3; largest 448, smallest normal 2^-6, smallest subnormal 2^-9. Law: conversion rounds to nearest, ties to
// even, saturates at 448, and any NaN becomes 0x7f; infinity saturates too. The bits of every back end follow it.
#pragma once

#include <bit>
#include <cstdint>

namespace athanor::e4m3 {

inline constexpr float kLargest = 448.0F;

/// The bits of the nearest value. Branches select, so loops vectorise.
constexpr std::uint8_t bits_of(float value) {
  const auto raw = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t magnitude = raw & 0x7fffffffU, sign = raw >> 24 & 0x80U;
  // Below 2^-6 the step is 2^-9 everywhere: that of floats at 2^14.
  const std::uint32_t subnormal =
      std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0x1p14F) - std::bit_cast<std::uint32_t>(0x1p14F);
  // Else 20 bits of the mantissa go, and the exponent's bias falls by 120.
  const std::uint32_t normal = ((magnitude + 0x7ffffU + (magnitude >> 20 & 1U)) >> 20) - (120U << 3);
  std::uint32_t bits = magnitude < std::bit_cast<std::uint32_t>(0x1p-6F) ? subnormal : normal;
  bits = magnitude >= std::bit_cast<std::uint32_t>(kLargest) ? 0x7eU : bits;
  bits = (bits > 0x7eU ? 0x7eU : bits) | sign;
  return static_cast<std::uint8_t>(magnitude > 0x7f800000U ? 0x7fU : bits);
}

constexpr float value_of(std::uint8_t bits) {
  const std::uint32_t magnitude = bits & 0x7fU, sign = (bits & 0x80U) << 24;
  if (magnitude == 0x7fU) return std::bit_cast<float>(0x7fc00000U);
  const float value =
      magnitude < 8 ? static_cast<float>(magnitude) * 0x1p-9F : std::bit_cast<float>((magnitude << 20) + (120U << 23));
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) | sign);
}

}  // namespace athanor::e4m3
