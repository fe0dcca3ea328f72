// Kernels of generation.cpp.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "src/backend/cuda/id_check.cuh"
#include "src/base/dtype.hpp"

namespace athanor::cuda {

/// Where tokens lie in a cache of pages of `page_rows` rows.
struct CachePlaces {
  const std::int32_t *pages_SP, *slots_R, *positions_R, *lengths_R;
  std::int64_t pages_per_slot, page_rows;
};
/// rows_R[r] = the row of token r, -1 where its length is 0, or slot or position is bad.
cudaError_t launch_cache_rows(std::int32_t* rows_R, const CachePlaces& places, std::int64_t rows, const IdCheck& slots,
                              const IdCheck& positions, cudaStream_t stream);

cudaError_t launch_sampling_keys(std::int64_t* keys_R, const std::int64_t* prompts_R, const std::int32_t* siblings_R,
                                 const std::int32_t* counts_R, std::int64_t rows, cudaStream_t stream);

/// Operands of advance_rows; log-probabilities f32 or f64.
struct AdvancedRows {
  std::int32_t *tokens_R, *positions_R, *lengths_R, *counts_R;
  std::int32_t *tokens_NR, *step_1;
  void* logprobs_NR;
  const std::int32_t *ids_R, *stop_ids_S;
  const void* logprobs_R;
  std::int64_t rows, num_steps, num_stop_ids, most_tokens;
};
cudaError_t launch_advance_rows(const AdvancedRows& rows, DType acc, const IdCheck& steps, cudaStream_t stream);

}  // namespace athanor::cuda
