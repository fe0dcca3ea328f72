// Element types of tensors, and the bfloat16 value type used by CPU kernels.
// Law: a DType travels with every tensor; counts are of elements unless a name ends in _bytes.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace athanor {

enum class DType : std::uint8_t { f64, f32, bf16, i64, i32, u8 };

constexpr std::size_t size_bytes(DType dtype) {
  switch (dtype) {
    case DType::f64:
    case DType::i64:
      return 8;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::bf16:
      return 2;
    case DType::u8:
      return 1;
  }
  return 0;
}

/// "f32", "bf16", ... as written in configuration files and checkpoints.
std::string_view to_string(DType dtype);
/// Inverse of to_string. @throws ConfigError naming the known types.
DType dtype_from_string(std::string_view text);

/// The type in which values of `dtype` are accumulated, gradients are kept and statistics are computed: f64 for f64,
/// else f32.
constexpr DType accumulation_dtype(DType dtype) { return dtype == DType::f64 ? DType::f64 : DType::f32; }

constexpr bool is_floating(DType dtype) { return dtype == DType::f64 || dtype == DType::f32 || dtype == DType::bf16; }

/// bfloat16: the upper half of an f32. Conversion rounds to nearest, ties to even; NaN stays NaN.
struct bf16 {
  std::uint16_t bits = 0;

  bf16() = default;
  constexpr explicit bf16(float value) : bits(rounded_bits(value)) {}
  constexpr explicit operator float() const { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

  /// The bits of a value; assigned to `bits`, loops vectorise, which they do not with a temporary bf16.
  static constexpr std::uint16_t rounded_bits(float value) {
    const auto raw = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t rounded = (raw + 0x7fffU + ((raw >> 16) & 1U)) >> 16;
    return static_cast<std::uint16_t>(value != value ? 0x7fc0U : rounded);
  }
};
static_assert(sizeof(bf16) == 2);

template <class T>
struct dtype_of;
template <>
struct dtype_of<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct dtype_of<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct dtype_of<bf16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct dtype_of<std::int64_t> {
  static constexpr DType value = DType::i64;
};
template <>
struct dtype_of<std::int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct dtype_of<std::uint8_t> {
  static constexpr DType value = DType::u8;
};
template <class T>
inline constexpr DType dtype_of_v = dtype_of<T>::value;

}  // namespace athanor
