// Kernels of policy_gradient.cpp and preference.cpp: one number a token, pair or answer. Sums are f64 and added to.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "src/backend/cuda/id_check.cuh"
#include "src/base/dtype.hpp"

namespace athanor::cuda {

/// Numbers of PolicySum, PreferenceSum and ValueSum, which policy_gradient.cpp and preference.cpp compare.
inline constexpr int kTokenSums = 8;

enum class Objective : std::uint8_t { clipped, gspo, cispo };
/// Operands of policy_gradient, of one floating type; reference may be null, sequence_ids only for gspo not.
struct PolicyRows {
  void* weights;
  const void *losses, *old, *reference, *advantages, *loss_weights;
  const std::int32_t* sequence_ids;
  std::int64_t tokens;
  Objective objective;
  double clip_low, clip_high, ratio_bound, kl_beta;
};
cudaError_t launch_policy_gradient(double* sums, const PolicyRows& rows, DType dtype, cudaStream_t stream);

/// margins may be null.
cudaError_t launch_pairwise_preference(void* dscores, double* sums, const void* scores, const std::int32_t* pairs,
                                       const void* margins, const void* weights, double centering, DType acc,
                                       std::int64_t answers, std::int64_t count, const IdCheck& check,
                                       cudaStream_t stream);
cudaError_t launch_pointwise_preference(void* dscores, double* sums, const void* scores, const void* labels,
                                        const void* weights, DType acc, std::int64_t answers, cudaStream_t stream);
/// old_values null: not clipped.
cudaError_t launch_value_regression(void* dvalues, double* sums, const void* values, const void* old_values,
                                    const void* returns, const void* weights, double clip, DType acc,
                                    std::int64_t tokens, cudaStream_t stream);

}  // namespace athanor::cuda
