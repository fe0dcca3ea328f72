// Device words of CUDA for kernels that run emulated: vector types, the place of a thread, barriers, warp operations,
// atomics on integers (there are none on floating-point numbers, whose order would change bits), bit casts.
#pragma once

#include <cuda_runtime_api.h>
#include <math.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <source_location>

#include "tests/support/cuda_emulation/block.hpp"

#define threadIdx (::emulation::here.thread)
#define blockIdx (::emulation::here.block)
#define blockDim (::emulation::here.block_dim)
#define gridDim (::emulation::here.grid_dim)
constexpr int warpSize = 32;

// ---- barriers and warp operations

inline void __syncthreads(const std::source_location& where = std::source_location::current()) {
  ::emulation::block_barrier(0, where);
}
inline int __syncthreads_count(int holds, const std::source_location& where = std::source_location::current()) {
  return ::emulation::block_barrier(holds != 0 ? 1 : 0, where);
}
inline int __syncthreads_or(int holds, const std::source_location& where = std::source_location::current()) {
  return ::emulation::block_barrier(holds != 0 ? 1 : 0, where) > 0;
}
inline void __syncwarp(unsigned mask = 0xffffffffU,
                       const std::source_location& where = std::source_location::current()) {
  ::emulation::shuffle(mask, nullptr, 0, 0, nullptr, where);
}

namespace emulation {
/// Lane `source` of the segment of `width` lanes that holds this one; its own value where `source` lies outside.
template <class T>
T shuffled(unsigned mask, T value, int source, int width, const std::source_location& where) {
  const int lane = lane_id(), begin = lane / width * width;
  const int from = source >= begin && source < begin + width ? source : lane;
  T result;
  shuffle(mask, &value, sizeof(T), from, &result, where);
  return result;
}
}  // namespace emulation

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              const std::source_location& where = std::source_location::current()) {
  const int begin = ::emulation::lane_id() / width * width;
  return ::emulation::shuffled(mask, value, begin + source % width, width, where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int other, int width = 32,
                  const std::source_location& where = std::source_location::current()) {
  return ::emulation::shuffled(mask, value, ::emulation::lane_id() ^ other, width, where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32,
                   const std::source_location& where = std::source_location::current()) {
  return ::emulation::shuffled(mask, value, ::emulation::lane_id() + static_cast<int>(by), width, where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32,
                 const std::source_location& where = std::source_location::current()) {
  return ::emulation::shuffled(mask, value, ::emulation::lane_id() - static_cast<int>(by), width, where);
}
inline unsigned __ballot_sync(unsigned mask, int holds,
                              const std::source_location& where = std::source_location::current()) {
  return ::emulation::ballot(mask, holds != 0, where);
}
inline int __any_sync(unsigned mask, int holds, const std::source_location& where = std::source_location::current()) {
  return ::emulation::ballot(mask, holds != 0, where) != 0;
}
inline int __all_sync(unsigned mask, int holds, const std::source_location& where = std::source_location::current()) {
  return ::emulation::ballot(mask, holds == 0, where) == 0;
}
inline void __threadfence() {}

// ---- atomics: threads run one at a time

template <class T>
T atomicExch(T* at, T value) {
  const T old = *at;
  *at = value;
  return old;
}
template <class T>
T atomicCAS(T* at, T expected, T value) {
  const T old = *at;
  if (old == expected) *at = value;
  return old;
}
template <class T>
requires std::is_integral_v<T> T atomicAdd(T* at, T value) {
  const T old = *at;
  *at = static_cast<T>(old + value);
  return old;
}
template <class T>
requires std::is_integral_v<T> T atomicMin(T* at, T value) {
  const T old = *at;
  if (value < old) *at = value;
  return old;
}
template <class T>
requires std::is_integral_v<T> T atomicMax(T* at, T value) {
  const T old = *at;
  if (value > old) *at = value;
  return old;
}
template <class T>
requires std::is_integral_v<T> T atomicOr(T* at, T value) {
  const T old = *at;
  *at = static_cast<T>(old | value);
  return old;
}

// ---- bits and numbers

inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline int __float_as_int(float value) { return std::bit_cast<int>(value); }
inline float __int_as_float(int bits) { return std::bit_cast<float>(bits); }
inline long long __double_as_longlong(double value) { return std::bit_cast<long long>(value); }
inline double __longlong_as_double(long long bits) { return std::bit_cast<double>(bits); }
inline int __popc(unsigned bits) { return std::popcount(bits); }
inline int __clz(int bits) { return std::countl_zero(static_cast<unsigned>(bits)); }
inline int __ffs(int bits) { return bits == 0 ? 0 : std::countr_zero(static_cast<unsigned>(bits)) + 1; }
inline float rsqrtf(float value) { return 1.0F / sqrtf(value); }
inline double rsqrt(double value) { return 1.0 / sqrt(value); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline float __expf(float value) { return expf(value); }
inline float __logf(float value) { return logf(value); }
inline float __fdividef(float a, float b) { return a / b; }
template <class T>
T __ldg(const T* from) {
  return *from;
}
using std::max;
using std::min;
