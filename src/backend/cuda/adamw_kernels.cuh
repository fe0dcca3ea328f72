// Kernels of adamw.cpp, and of weighted_sum.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "src/base/dtype.hpp"

namespace athanor::cuda {

/// f64 numbers of scratch memory of a sum over everything.
inline constexpr std::int64_t kSumPieces = 1024;

/// out (f64) += sum of x * y, or of x where y is null, or of x * x where it is x.
cudaError_t launch_sum_of_products(double* out, double* scratch, const void* x, const void* y, DType dtype,
                                   std::int64_t count, cudaStream_t stream);
/// out += elements that are not finite.
cudaError_t launch_count_nonfinite(std::int64_t* out, const void* x, DType dtype, std::int64_t count,
                                   cudaStream_t stream);

/// The scalars of one step.
struct AdamWStep {
  double grad_scale, beta1, beta2, keep, rate, inverse_root2, eps;
};
/// master and grad acc; m and v of `moment`; weight of `weight_type`, or null.
cudaError_t launch_adamw(void* weight, DType weight_type, void* master, DType acc, void* m, void* v, DType moment,
                         const void* grad, const AdamWStep& step, std::int64_t count, cudaStream_t stream);

}  // namespace athanor::cuda
