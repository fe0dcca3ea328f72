// Kernels of memory.cpp. A .cu file sees plain types only, so that nvcc compiles little.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "src/base/dtype.hpp"

namespace athanor::cuda {

/// count elements of element_bytes (1, 2, 4 or 8) = the low bytes of `bits`.
cudaError_t launch_fill(void* dst, std::uint64_t bits, std::size_t element_bytes, std::int64_t count,
                        cudaStream_t stream);
/// dst = src between f32, bf16 and f64.
cudaError_t launch_convert(void* dst, DType dst_type, const void* src, DType src_type, std::int64_t count,
                           cudaStream_t stream);

}  // namespace athanor::cuda
