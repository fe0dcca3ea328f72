// Products of FP8 on CUDA (Backend::gemm_fp8): cuBLASLt's block-scaled ones where it has them, else own kernels.
#pragma once

#include "src/backend/backend.hpp"
#include "src/backend/cuda/gemm.hpp"

namespace athanor::cuda {

/// @param rows_alike  Backend::keep_rows_alike: own kernels, as cuBLASLt does not have every number of rows.
/// @throws Error also where the GPU has no FP8 (compute capability below 8.9).
void gemm_fp8(Tensor y_MN, const Fp8Matrix& a_MK, const Fp8Matrix& b_NK, bool accumulate, bool rows_alike,
              MatrixProducts& products, Stream& stream);

}  // namespace athanor::cuda
