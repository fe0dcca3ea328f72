// Kernels of packed_rows.cpp. Rows are multiples of 16 bytes, packed or not.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "src/backend/cuda/id_check.cuh"
#include "src/backend/operand_shapes.hpp"
#include "src/base/dtype.hpp"

namespace athanor::cuda {

cudaError_t launch_pack_fp8_rows(std::uint8_t* out, const std::uint8_t* values, const float* scales, std::int64_t rows,
                                 std::int64_t width, cudaStream_t stream);
cudaError_t launch_permute_fp8_rows(std::uint8_t* values, float* scales, const std::uint8_t* packed,
                                    const std::int32_t* pair_of, std::int64_t top_k, std::int64_t rows,
                                    std::int64_t width, const IdCheck& check, cudaStream_t stream);
/// x: bf16 or f32.
cudaError_t launch_unpermute_fp8_rows_backward(std::uint8_t* values, float* scales, float* dweights,
                                               const std::uint8_t* packed, const void* x, DType dtype,
                                               const std::int32_t* row_of, const float* weights, const Unpermuted& u,
                                               const IdCheck& check, cudaStream_t stream);

}  // namespace athanor::cuda
