#include "src/backend/cuda/rank_sum_kernels.cuh"

#include "src/backend/cuda/launch.cuh"

namespace athanor::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr std::int64_t kMostBlocks = 4096;  // enough to fill any device; threads go on in steps of the grid

struct Bits16 {
  std::uint16_t bits;
};

__device__ double widen(double value) { return value; }
__device__ float widen(float value) { return value; }
__device__ float widen(Bits16 value) { return __uint_as_float(static_cast<unsigned>(value.bits) << 16); }

__device__ void put(double& to, double value) { to = value; }
__device__ void put(float& to, float value) { to = value; }
/// To the nearest, ties to even, NaN to one NaN: the rule of athanor::bf16.
__device__ void put(Bits16& to, float value) {
  const unsigned raw = __float_as_uint(value);
  to.bits = static_cast<std::uint16_t>(value != value ? 0x7fc0U : (raw + 0x7fffU + ((raw >> 16) & 1U)) >> 16);
}

/// The elements that a thread takes at once: 16 bytes of each contribution.
template <class T>
struct alignas(16) Pack {
  static constexpr int kSize = 16 / sizeof(T);
  T values[kSize];
};

template <class T>
struct Contributions {
  const T* own;
  const char* others;
  std::size_t stride_bytes;
  int rank, ranks;
  __device__ const T* of(int r) const {
    return r == rank ? own : reinterpret_cast<const T*>(others + static_cast<std::size_t>(r) * stride_bytes);
  }
};

template <class T, class Acc>
__device__ Acc reduced(Acc total, T value, RankReduction op) {
  const Acc next = widen(value);
  if (op != RankReduction::max) return total + next;
  return next > total || next != next ? next : total;
}

template <class T, class Value>
__global__ void rank_sum_kernel(T* out, Contributions<T> from, std::int64_t count, RankReduction op) {
  using Acc = decltype(widen(Value{}));
  constexpr int kSize = static_cast<int>(sizeof(T) / sizeof(Value));
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    Acc total[kSize] = {};
    for (int r = 0; r < from.ranks; ++r) {
      const T pack = from.of(r)[i];
      const Value* values = reinterpret_cast<const Value*>(&pack);
      for (int k = 0; k < kSize; ++k) total[k] = r == 0 ? widen(values[k]) : reduced(total[k], values[k], op);
    }
    T result;
    Value* results = reinterpret_cast<Value*>(&result);
    for (int k = 0; k < kSize; ++k) {
      if (op == RankReduction::mean) total[k] /= static_cast<Acc>(from.ranks);
      put(results[k], total[k]);
    }
    out[i] = result;
  }
}

template <class T, class Value>
cudaError_t start(void* out, const void* own, const void* others, std::size_t stride_bytes, int rank, int ranks,
                  std::int64_t count, RankReduction op, cudaStream_t stream) {
  const std::int64_t blocks = (count + kThreads - 1) / kThreads;
  const auto grid = static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks);
  const Contributions<T> from{static_cast<const T*>(own), static_cast<const char*>(others), stride_bytes, rank, ranks};
  return launch(rank_sum_kernel<T, Value>, {grid, kThreads}, stream, static_cast<T*>(out), from, count, op);
}

bool is_aligned(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0; }

/// Packs of 16 bytes where all pointers allow it, then what is left element by element. Which way an element goes does
/// not show in its bits.
template <class T>
cudaError_t reduce(void* out, const void* own, const void* others, std::size_t stride_bytes, int rank, int ranks,
                   std::int64_t count, RankReduction op, cudaStream_t stream) {
  constexpr std::int64_t kSize = Pack<T>::kSize;
  const bool aligned = is_aligned(out) && is_aligned(own) && is_aligned(others) && stride_bytes % 16 == 0;
  const std::int64_t packs = aligned ? count / kSize : 0, rest = count - packs * kSize;
  if (packs > 0)
    if (const cudaError_t status = start<Pack<T>, T>(out, own, others, stride_bytes, rank, ranks, packs, op, stream);
        status != cudaSuccess)
      return status;
  if (rest == 0) return cudaSuccess;
  const std::int64_t done = packs * kSize;
  return start<T, T>(static_cast<T*>(out) + done, static_cast<const T*>(own) + done,
                     static_cast<const T*>(others) + done, stride_bytes, rank, ranks, rest, op, stream);
}

}  // namespace

cudaError_t launch_rank_sum(void* out, const void* own, const void* others, std::size_t stride_bytes, int rank,
                            int ranks, std::int64_t count, DType dtype, RankReduction op, cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  switch (dtype) {
    case DType::f64:
      return reduce<double>(out, own, others, stride_bytes, rank, ranks, count, op, stream);
    case DType::f32:
      return reduce<float>(out, own, others, stride_bytes, rank, ranks, count, op, stream);
    case DType::bf16:
      return reduce<Bits16>(out, own, others, stride_bytes, rank, ranks, count, op, stream);
    default:
      return cudaErrorInvalidValue;  // integers are exact in any order and go by NCCL
  }
}

}  // namespace athanor::cuda
