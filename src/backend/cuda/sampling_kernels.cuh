// Kernels of sampling.cpp.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "src/base/dtype.hpp"

namespace athanor::cuda {

struct SampledRows {
  DType dtype;
  std::int64_t rows, vocabulary;
  std::uint64_t seed;
  std::uint32_t purpose;  ///< number of RandomPurpose::sampling
  double temperature, top_p, min_p;
  std::int64_t top_k;
};
/// Bytes of scratch memory.
std::int64_t sampling_scratch_bytes(const SampledRows& rows);
cudaError_t launch_sample(std::int32_t* ids, void* logprobs, void* scratch, const void* logits,
                          const std::int64_t* keys, const SampledRows& rows, cudaStream_t stream);

}  // namespace athanor::cuda
