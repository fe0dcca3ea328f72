// What kernels share: element types, 16-byte packs, teams of threads that share a row, shapes of launches.
// Laws: elements are read and written a pack at a time, with one instruction where the memory is aligned and one by one
// where not; either way a thread holds the same elements, so sums have one order. The threads of a row depend on the
// row's width alone; so a row's result does not depend on other rows.
#pragma once

#include <cstdint>
#include <type_traits>

#include "src/backend/cuda/id_note.cuh"
#include "src/backend/cuda/launch.cuh"
#include "src/base/dtype.hpp"

namespace athanor::cuda {

/// bf16 as its bits: device code needs none of the host type.
struct Bf16 {
  std::uint16_t bits;
};

/// The type in which values of T are computed.
template <class T>
using acc_t = std::conditional_t<std::is_same_v<T, double>, double, float>;

__device__ inline float widen(float value) { return value; }
__device__ inline double widen(double value) { return value; }
__device__ inline float widen(Bf16 value) { return __uint_as_float(static_cast<unsigned>(value.bits) << 16); }

/// An element of T; bf16 by way of f32, nearest even, NaN stays NaN: the rule of athanor::bf16.
template <class T, class From>
__device__ inline T narrow(From value) {
  if constexpr (std::is_same_v<T, Bf16>) {
    const unsigned raw = __float_as_uint(static_cast<float>(value));
    if ((raw & 0x7fffffffU) > 0x7f800000U) return {0x7fc0U};
    return {static_cast<std::uint16_t>((raw + 0x7fffU + ((raw >> 16) & 1U)) >> 16)};
  } else {
    return static_cast<T>(value);
  }
}

__device__ inline float exponential(float x) { return expf(x); }
__device__ inline double exponential(double x) { return exp(x); }
/// A product that is rounded before it is used: never part of a fused multiply-add.
__device__ inline float product(float a, float b) { return __fmul_rn(a, b); }
__device__ inline double product(double a, double b) { return __dmul_rn(a, b); }
__device__ inline float root(float x) { return sqrtf(x); }
__device__ inline double root(double x) { return sqrt(x); }
/// 1 / (1 + exp(-x)).
template <class Acc>
__device__ inline Acc sigmoid(Acc x) {
  return Acc{1} / (Acc{1} + exponential(-x));
}
template <class A>
__device__ inline A larger(A a, A b) {
  return b > a ? b : a;
}

// ---- packs

/// Elements in 16 bytes.
template <class T>
inline constexpr int kPack = 16 / static_cast<int>(sizeof(T));

template <class T, int kCount>
struct alignas(sizeof(T) * kCount) Pack {
  T at[kCount];
};

__host__ __device__ constexpr std::int64_t packs_of(std::int64_t count, std::int64_t pack) {
  return (count + pack - 1) / pack;
}

/// Elements [0, count) at `data`, seen as packs; the last may be short. Reading past the end gives `beyond`.
template <class T, int kCount = kPack<std::remove_const_t<T>>>
struct Packs {
  using Element = std::remove_const_t<T>;
  using Acc = acc_t<Element>;
  T* data;
  std::int64_t count;
  bool aligned;  ///< data is a multiple of a pack's bytes

  __device__ void load(std::int64_t pack, Acc (&values)[kCount], Acc beyond = Acc{0}) const {
    const std::int64_t begin = pack * kCount;
    if (aligned && begin + kCount <= count) {
      const auto whole = *reinterpret_cast<const Pack<Element, kCount>*>(data + begin);
#pragma unroll
      for (int i = 0; i < kCount; ++i) values[i] = widen(whole.at[i]);
      return;
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i) values[i] = begin + i < count ? widen(data[begin + i]) : beyond;
  }
  template <class From>
  __device__ void store(std::int64_t pack, const From (&values)[kCount]) const {
    const std::int64_t begin = pack * kCount;
    if (aligned && begin + kCount <= count) {
      Pack<Element, kCount> whole;
#pragma unroll
      for (int i = 0; i < kCount; ++i) whole.at[i] = narrow<Element>(values[i]);
      *reinterpret_cast<Pack<Element, kCount>*>(data + begin) = whole;
      return;
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      if (begin + i < count) data[begin + i] = narrow<Element>(values[i]);
  }
};

/// Rows of one width.
template <class T, int kCount = kPack<std::remove_const_t<T>>>
struct Rows {
  T* data;
  std::int64_t width;
  bool aligned;  ///< every row is a multiple of a pack's bytes

  __device__ Packs<T, kCount> row(std::int64_t r) const { return {data + r * width, width, aligned}; }
};

inline bool is_aligned(const void* data, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(data) % bytes == 0;
}
template <class T, int kCount = kPack<std::remove_const_t<T>>>
Packs<T, kCount> packs_at(T* data, std::int64_t count) {
  return {data, count, is_aligned(data, sizeof(T) * kCount)};
}
template <class T, int kCount = kPack<std::remove_const_t<T>>>
Rows<T, kCount> rows_at(T* data, std::int64_t width) {
  return {data, width, is_aligned(data, sizeof(T) * kCount) && width % kCount == 0};
}

// ---- loops over everything: kernel(f, count) calls f(i) for every i

inline constexpr unsigned kThreads = 256;

template <class F>
__global__ void for_each_kernel(F f, std::int64_t count) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) f(i);
}

/// Enough blocks to fill any device; each thread goes on in steps of the grid.
inline unsigned blocks_for(std::int64_t count, unsigned threads = kThreads) {
  const std::int64_t blocks = (count + threads - 1) / threads;
  return static_cast<unsigned>(blocks < 2112 ? blocks : 2112);  // 16 for each of an H200's 132 multiprocessors
}

template <class F>
cudaError_t for_each(const F& f, std::int64_t count, cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  return launch(for_each_kernel<F>, {blocks_for(count), kThreads}, stream, f, count);
}

// ---- teams: the threads that share a row, (threadIdx.x of blockDim.x); blockDim.y teams a block

/// Threads a team of whole warps for so many pieces of work a row.
inline unsigned team_threads(std::int64_t pieces) {
  unsigned threads = 32;
  while (threads < 512 && threads * 4 < pieces) threads *= 2;
  return threads;
}
/// A team for every row: several a block while a team is a warp.
inline LaunchShape team_shape(std::int64_t rows, std::int64_t pieces,
                              const std::source_location& where = std::source_location::current()) {
  const unsigned threads = team_threads(pieces), teams = threads == 32 ? 4 : 1;
  return {static_cast<unsigned>((rows + teams - 1) / teams), {threads, teams}, 0, where};
}
__device__ inline std::int64_t team_row() { return static_cast<std::int64_t>(blockIdx.x) * blockDim.y + threadIdx.y; }

struct Sum {
  template <class A>
  __device__ A operator()(A a, A b) const {
    return a + b;
  }
};
struct Largest {
  template <class A>
  __device__ A operator()(A a, A b) const {
    return larger(a, b);
  }
};

inline constexpr unsigned kAllLanes = 0xffffffffU;

/// op over the team's values, in an order that depends on the team's size alone; every thread gets it. Called by all
/// threads of the team; where a team is more than a warp, by all of the block.
template <class A, class Op>
__device__ A team_reduce(A value, Op op) {
  for (int other = 16; other > 0; other /= 2) value = op(value, __shfl_xor_sync(kAllLanes, value, other));
  if (blockDim.x == 32) return value;
  __shared__ A of_warp[32];
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
  __syncthreads();
  value = of_warp[0];
  for (unsigned w = 1; w < blockDim.x / 32; ++w) value = op(value, of_warp[w]);
  __syncthreads();
  return value;
}
template <class A>
__device__ A team_sum(A value) {
  return team_reduce(value, Sum{});
}
template <class A>
__device__ A team_largest(A value) {
  return team_reduce(value, Largest{});
}

// ---- types at run time

/// Calls f with an element of the floating type.
template <class F>
cudaError_t with_floating(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f64:
      return f(double{});
    case DType::f32:
      return f(float{});
    case DType::bf16:
      return f(Bf16{});
    default:
      return cudaErrorInvalidValue;
  }
}
/// The same for an accumulation type: f64 or f32.
template <class F>
cudaError_t with_acc(DType dtype, F&& f) {
  if (dtype == DType::f64) return f(double{});
  return dtype == DType::f32 ? f(float{}) : cudaErrorInvalidValue;
}

}  // namespace athanor::cuda
