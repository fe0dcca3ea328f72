// Kernels of memory.cpp. A .cu file sees plain types only, so that nvcc compiles little.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "src/backend/cuda/id_check.cuh"
#include "src/base/dtype.hpp"

namespace athanor::cuda {

/// count elements of element_bytes (1, 2, 4 or 8) = the low bytes of `bits`.
cudaError_t launch_fill(void* dst, std::uint64_t bits, std::size_t element_bytes, std::int64_t count,
                        cudaStream_t stream);
/// dst = src between f32, bf16 and f64.
cudaError_t launch_convert(void* dst, DType dst_type, const void* src, DType src_type, std::int64_t count,
                           cudaStream_t stream);

/// A rectangle of a tensor: dims from the outermost, `ndim` of them.
struct NormalBox {
  static constexpr int kMostDims = 4;
  int ndim;
  std::int64_t global[kMostDims], offset[kMostDims], extent[kMostDims];
};
/// Element e of the whole tensor = std * normal number e of (seed, purpose, stream_id).
cudaError_t launch_fill_normal(void* dst, DType dtype, double std, std::uint64_t seed, std::uint32_t purpose,
                               std::uint64_t stream_id, const NormalBox& box, cudaStream_t stream);

/// dst row r = src row ids[r] / per, zeros where the id is -1 or bad.
cudaError_t launch_gather_rows(void* dst, const void* src, const std::int32_t* ids, std::int64_t per, std::int64_t rows,
                               std::int64_t row_bytes, const IdCheck& check, cudaStream_t stream);
/// dst row ids[r] = src row r, but for ids that are -1 or bad.
cudaError_t launch_scatter_rows(void* dst, const void* src, const std::int32_t* ids, std::int64_t rows,
                                std::int64_t row_bytes, const IdCheck& check, cudaStream_t stream);
/// dst (acc) row ids[order[i]] += the src rows of that id, in order; `order` sorts ids stably (stable_sort.cuh), the
/// -1s last. `count` rows of `width`.
cudaError_t launch_add_sorted_rows(void* dst, const void* src, DType src_type, const std::int32_t* ids,
                                   const std::int32_t* order, std::int64_t count, std::int64_t width,
                                   const IdCheck& check, cudaStream_t stream);
cudaError_t launch_local_ids(std::int32_t* out, const std::int32_t* ids, std::int64_t begin, std::int64_t count,
                             std::int64_t rows, cudaStream_t stream);
/// whole row = [a row | b row], or the inverse where `split`.
cudaError_t launch_columns(void* whole, void* a, void* b, std::int64_t rows, std::int64_t a_bytes, std::int64_t b_bytes,
                           bool split, cudaStream_t stream);

}  // namespace athanor::cuda
