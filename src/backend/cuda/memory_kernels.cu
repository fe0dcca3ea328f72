#include "src/backend/cuda/memory_kernels.cuh"

namespace athanor::cuda {
namespace {

constexpr int kThreads = 256;

/// Blocks for a loop in steps of the whole grid; enough to fill any device.
int blocks_for(std::int64_t count) {
  const std::int64_t blocks = (count + kThreads - 1) / kThreads;
  return static_cast<int>(blocks < 4096 ? blocks : 4096);
}

/// bf16 as its bits: device code needs none of the host type.
struct Bits16 {
  std::uint16_t bits;
};

__device__ double widen(double value) { return value; }
__device__ double widen(float value) { return value; }
__device__ float widen(Bits16 value) { return __uint_as_float(static_cast<unsigned>(value.bits) << 16); }

template <class To>
struct Narrow {
  template <class From>
  __device__ static To from(From value) {
    return static_cast<To>(value);
  }
};
template <>
struct Narrow<Bits16> {
  /// By way of f32, nearest even, NaN stays NaN: the rule of athanor::bf16.
  template <class From>
  __device__ static Bits16 from(From value) {
    const unsigned raw = __float_as_uint(static_cast<float>(value));
    if ((raw & 0x7fffffffU) > 0x7f800000U) return {static_cast<std::uint16_t>((raw >> 16) | 0x0040U)};
    return {static_cast<std::uint16_t>((raw + 0x7fffU + ((raw >> 16) & 1U)) >> 16)};
  }
};

template <class T>
__global__ void fill_kernel(T* dst, T value, std::int64_t count) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step)
    dst[i] = value;
}

template <class To, class From>
__global__ void convert_kernel(To* dst, const From* src, std::int64_t count) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step)
    dst[i] = Narrow<To>::from(widen(src[i]));
}

template <class T>
cudaError_t fill_as(void* dst, std::uint64_t bits, std::int64_t count, cudaStream_t stream) {
  fill_kernel<<<blocks_for(count), kThreads, 0, stream>>>(static_cast<T*>(dst), static_cast<T>(bits), count);
  return cudaGetLastError();
}

template <class To, class From>
cudaError_t convert_as(void* dst, const void* src, std::int64_t count, cudaStream_t stream) {
  convert_kernel<<<blocks_for(count), kThreads, 0, stream>>>(static_cast<To*>(dst), static_cast<const From*>(src),
                                                             count);
  return cudaGetLastError();
}

template <class To>
cudaError_t convert_to(void* dst, const void* src, DType src_type, std::int64_t count, cudaStream_t stream) {
  switch (src_type) {
    case DType::f64:
      return convert_as<To, double>(dst, src, count, stream);
    case DType::f32:
      return convert_as<To, float>(dst, src, count, stream);
    case DType::bf16:
      return convert_as<To, Bits16>(dst, src, count, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace

cudaError_t launch_fill(void* dst, std::uint64_t bits, std::size_t element_bytes, std::int64_t count,
                        cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  switch (element_bytes) {
    case 1:
      return fill_as<std::uint8_t>(dst, bits, count, stream);
    case 2:
      return fill_as<std::uint16_t>(dst, bits, count, stream);
    case 4:
      return fill_as<std::uint32_t>(dst, bits, count, stream);
    case 8:
      return fill_as<std::uint64_t>(dst, bits, count, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

cudaError_t launch_convert(void* dst, DType dst_type, const void* src, DType src_type, std::int64_t count,
                           cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  switch (dst_type) {
    case DType::f64:
      return convert_to<double>(dst, src, src_type, count, stream);
    case DType::f32:
      return convert_to<float>(dst, src, src_type, count, stream);
    case DType::bf16:
      return convert_to<Bits16>(dst, src, src_type, count, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace athanor::cuda
