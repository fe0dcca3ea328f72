// Kernels of elementwise.cpp. Outputs may be inputs: an element is read before it is written.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "src/base/dtype.hpp"

namespace athanor::cuda {

cudaError_t launch_add(void* out, const void* a, const void* b, DType dtype, std::int64_t count, cudaStream_t stream);
cudaError_t launch_scale(void* x, double factor, DType dtype, std::int64_t count, cudaStream_t stream);
cudaError_t launch_add_bias(void* x, const void* bias, DType dtype, std::int64_t rows, std::int64_t columns,
                            cudaStream_t stream);
/// sums (acc) += the columns of dy. `workspace`: column_sum_pieces(rows) * columns elements of acc.
cudaError_t launch_bias_backward(void* sums, void* workspace, const void* dy, DType dtype, std::int64_t rows,
                                 std::int64_t columns, cudaStream_t stream);
cudaError_t launch_swiglu_forward(void* y, const void* gate, const void* up, DType dtype, std::int64_t count,
                                  cudaStream_t stream);
cudaError_t launch_swiglu_backward(void* dgate, void* dup, const void* dy, const void* gate, const void* up,
                                   DType dtype, std::int64_t count, cudaStream_t stream);

}  // namespace athanor::cuda
