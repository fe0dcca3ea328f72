// Kernels of cross_entropy.cpp and distillation.cpp. acc stands for the accumulation type of the logits.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "src/backend/cuda/id_check.cuh"
#include "src/base/dtype.hpp"

namespace athanor::cuda {

/// Rows of logits [T, V].
struct LogitRows {
  DType dtype;
  std::int64_t tokens, vocabulary;
};
/// dlogits may be null or the logits.
cudaError_t launch_cross_entropy(void* losses, void* dlogits, const void* logits, const std::int32_t* targets,
                                 const void* weights, const LogitRows& rows, const IdCheck& check, cudaStream_t stream);
cudaError_t launch_cross_entropy_part(void* part, const void* logits, const std::int32_t* targets,
                                      const LogitRows& rows, const IdCheck& check, cudaStream_t stream);
/// All of one floating type; parts of `ranks`.
cudaError_t launch_cross_entropy_merge(void* losses, void* lse, const void* parts, const void* weights, DType dtype,
                                       std::int64_t tokens, std::int64_t ranks, cudaStream_t stream);
cudaError_t launch_cross_entropy_part_backward(void* dlogits, const void* logits, const void* lse,
                                               const std::int32_t* targets, const void* weights, const LogitRows& rows,
                                               const IdCheck& check, cudaStream_t stream);
/// dlogits may be null or the logits.
cudaError_t launch_distillation(void* losses, void* dlogits, const void* logits, const void* teacher,
                                const void* weights, bool reverse, const LogitRows& rows, cudaStream_t stream);

}  // namespace athanor::cuda
