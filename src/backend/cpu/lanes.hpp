// Numbers a vector at a time, for loops whose conversions to bf16 would cost more than their arithmetic.
// Law: the end of a row runs the same code on a vector filled up with zeros, so a value's bits do not depend on its
// place in the row. bf16 is widened on load and rounded to nearest even on put, by the machine's own instruction where
// there is one (which takes numbers below 2^-126 for 0). Compiles for any -march.
#pragma once

#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include <bit>
#include <cstdint>
#include <cstring>

#include "src/backend/cpu/kernel.hpp"
#include "src/backend/cpu/vector_math.hpp"

namespace athanor::cpu {

#ifdef __AVX512F__
inline constexpr int kLaneBytes = 64;
#else
inline constexpr int kLaneBytes = 32;
#endif

template <class Acc>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef float type __attribute__((vector_size(kLaneBytes)));
};
template <>
struct VectorOf<double> {
  typedef double type __attribute__((vector_size(kLaneBytes)));
};
/// A vector of the accumulation type.
template <class Acc>
using Lanes = typename VectorOf<Acc>::type;
template <class Acc>
inline constexpr std::int64_t kLanes = kLaneBytes / std::int64_t{sizeof(Acc)};

typedef std::uint16_t HalfBits __attribute__((vector_size(kLaneBytes / 2)));
typedef std::uint32_t WordBits __attribute__((vector_size(kLaneBytes)));

template <class T>
[[gnu::always_inline]] inline Lanes<acc_t<T>> load_lanes(const T* from) {
  if constexpr (std::is_same_v<T, bf16>) {
    HalfBits bits;
    std::memcpy(&bits, from, sizeof(bits));
#ifdef __AVX512F__
    // With a full mask: the plain one makes the compiler warn of its own undefined source.
    const auto words = std::bit_cast<WordBits>(_mm512_maskz_cvtepu16_epi32(0xffff, std::bit_cast<__m256i>(bits)));
#else
    const auto words = __builtin_convertvector(bits, WordBits);
#endif
    return std::bit_cast<Lanes<float>>(words << 16);
  } else {
    Lanes<T> value;
    std::memcpy(&value, from, sizeof(value));
    return value;
  }
}

template <class T>
[[gnu::always_inline]] inline void put_lanes(T* to, const Lanes<acc_t<T>>& value) {
  if constexpr (std::is_same_v<T, bf16>) {
#ifdef __AVX512BF16__
    const __m256bh bits = _mm512_cvtneps_pbh(std::bit_cast<__m512>(value));
#else
    const auto raw = std::bit_cast<WordBits>(value);
    const WordBits rounded = (raw + 0x7fffU + ((raw >> 16) & 1U)) >> 16;
    const HalfBits bits = __builtin_convertvector(value == value ? rounded : WordBits{} + 0x7fc0U, HalfBits);
#endif
    std::memcpy(static_cast<void*>(to), &bits, sizeof(bits));
  } else {
    std::memcpy(to, &value, sizeof(value));
  }
}

/// A whole vector of elements [at, at + kLanes) of every row it is given.
struct WholeVector {
  std::int64_t at;
  template <class T>
  [[gnu::always_inline]] Lanes<acc_t<T>> load(const T* row) const {
    return load_lanes(row + at);
  }
  template <class T>
  [[gnu::always_inline]] void put(T* row, const Lanes<acc_t<T>>& value) const {
    put_lanes(row + at, value);
  }
};
/// The last `count` elements; lanes past them read 0 and are not written.
struct PartVector {
  std::int64_t at, count;
  template <class T>
  Lanes<acc_t<T>> load(const T* row) const {
    T buffer[kLanes<acc_t<T>>] = {};
    std::memcpy(static_cast<void*>(buffer), row + at, static_cast<std::size_t>(count) * sizeof(T));
    return load_lanes(buffer);
  }
  template <class T>
  void put(T* row, const Lanes<acc_t<T>>& value) const {
    T buffer[kLanes<acc_t<T>>];
    put_lanes(buffer, value);
    std::memcpy(static_cast<void*>(row + at), buffer, static_cast<std::size_t>(count) * sizeof(T));
  }
};

/// Calls f(v) with v.load(row) and v.put(row, value) for the vectors of elements [begin, end). f captures by value:
/// what it held by reference would be read again after every put.
template <class Acc, class F>
[[gnu::always_inline]] inline void for_lanes(std::int64_t begin, std::int64_t end, const F& f) {
  constexpr std::int64_t kStep = kLanes<Acc>;
  std::int64_t i = begin;
#pragma GCC unroll 2
  for (; i + kStep <= end; i += kStep) f(WholeVector{i});
  if (i < end) f(PartVector{i, end - i});
}

/// sum over [0, count) of term(v), a vector: four sums that are added at the end, in an order that depends on `count`
/// alone.
template <class Acc, class F>
[[gnu::always_inline]] inline Acc sum_lanes(std::int64_t count, const F& term) {
  constexpr std::int64_t kStep = kLanes<Acc>;
  Lanes<Acc> sums[4] = {};
  std::int64_t i = 0;
  for (; i + 4 * kStep <= count; i += 4 * kStep)
    for (std::int64_t j = 0; j < 4; ++j) sums[j] += term(WholeVector{i + j * kStep});
  for (; i + kStep <= count; i += kStep) sums[0] += term(WholeVector{i});
  if (i < count) sums[0] += term(PartVector{i, count - i});
  const Lanes<Acc> whole = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  Acc lanes[kStep];
  std::memcpy(lanes, &whole, sizeof(lanes));
  for (std::int64_t width = kStep / 2; width > 0; width /= 2)
    for (std::int64_t l = 0; l < width; ++l) lanes[l] += lanes[l + width];
  return lanes[0];
}

/// exp of every lane; see vector_math.hpp.
[[gnu::always_inline]] inline Lanes<float> exp_lanes(const Lanes<float>& x) {
  Lanes<float> y{};
  for (int l = 0; l < kLanes<float>; ++l) y[l] = cpu::exp(x[l]);
  return y;
}
inline Lanes<double> exp_lanes(const Lanes<double>& x) {
  Lanes<double> y{};
  for (int l = 0; l < kLanes<double>; ++l) y[l] = std::exp(x[l]);
  return y;
}

/// 1 / (1 + exp(-x)).
template <class V>
[[gnu::always_inline]] inline V sigmoid_lanes(const V& x) {
  return 1 / (1 + exp_lanes(-x));
}

}  // namespace athanor::cpu
