// Kernels of fp8.cpp. Law: numbers become E4M3 with the bits of the CPU back end; sums of 128 products are those of
// tensor cores, which round inside them, and are added up in f32 in the order of the depth.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "src/backend/cuda/grouped_gemm_kernels.cuh"
#include "src/backend/operand_shapes.hpp"
#include "src/base/dtype.hpp"

namespace athanor::cuda {

/// a and b hold bytes of E4M3, both [rows, depth] of whole 16 bytes; by rows, by places or whole; c f32 or bf16.
struct Fp8GroupedProduct {
  GroupedProduct product;
  Fp8Scales a_scales, b_scales;
};
cudaError_t launch_fp8_product(const Fp8GroupedProduct& product, DType out, int processors, cudaStream_t stream);
/// The same on Hopper (compute capability 9.0): boxes of 128 bytes by kTiledRows rows of both.
struct TiledFp8Product {
  TiledProduct tiled;
  Fp8Scales a_scales, b_scales;
};
cudaError_t launch_tiled_fp8_product(const TiledFp8Product& product, DType out, int processors, cudaStream_t stream);

/// x [rows, columns], f32 or bf16.
cudaError_t launch_quantize_fp8_rows(std::uint8_t* values, float* scales, const void* x, DType dtype, std::int64_t rows,
                                     std::int64_t columns, bool power_of_two, cudaStream_t stream);
cudaError_t launch_dequantize_fp8_rows(void* x, DType dtype, const std::uint8_t* values, const float* scales,
                                       std::int64_t rows, std::int64_t columns, cudaStream_t stream);
/// offsets may be null: one group of all rows.
cudaError_t launch_quantize_fp8_columns(std::uint8_t* values, float* scales, const void* x, DType dtype,
                                        const std::int32_t* offsets, std::int64_t groups, std::int64_t rows,
                                        std::int64_t columns, std::int64_t places, cudaStream_t stream);
/// The same of rows [rows, columns] of E4M3, with scales that are powers of two.
cudaError_t launch_retile_fp8_columns(std::uint8_t* values, float* scales, const std::uint8_t* from,
                                      const float* from_scales, const std::int32_t* offsets, std::int64_t groups,
                                      std::int64_t rows, std::int64_t columns, std::int64_t places,
                                      cudaStream_t stream);
/// w [stack, rows, columns]; `where` says how the scales of the output lie.
cudaError_t launch_quantize_fp8_blocks(std::uint8_t* values, float* scales, const Fp8Scales& where, const void* w,
                                       DType dtype, std::int64_t stack, std::int64_t rows, std::int64_t columns,
                                       bool transposed, cudaStream_t stream);

}  // namespace athanor::cuda
