// Kernels of norm.cpp.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "src/base/dtype.hpp"

namespace athanor::cuda {

/// y = x * rstd * w, rstd (acc) = 1/sqrt(mean(x^2) + eps), a row each.
cudaError_t launch_rms_norm_forward(void* y, void* rstd, const void* x, const void* w, double eps, DType dtype,
                                    std::int64_t rows, std::int64_t width, cudaStream_t stream);
/// dresidual may be null.
cudaError_t launch_rms_norm_backward_input(void* dx, const void* dy, const void* x, const void* w, const void* rstd,
                                           const void* dresidual, DType dtype, std::int64_t rows, std::int64_t width,
                                           cudaStream_t stream);
/// `workspace`: column_sum_pieces(rows) * width elements of acc.
cudaError_t launch_rms_norm_backward_weight(void* dw, void* workspace, const void* dy, const void* x, const void* rstd,
                                            DType dtype, std::int64_t rows, std::int64_t width, cudaStream_t stream);

}  // namespace athanor::cuda
