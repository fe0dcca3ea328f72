// Kernels of permute.cpp; rows are moved by memory_kernels.cuh, pairs sorted by stable_sort.cuh.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "src/backend/cuda/id_check.cuh"
#include "src/backend/operand_shapes.hpp"
#include "src/base/dtype.hpp"

namespace athanor::cuda {

/// What a sort by expert leaves to do: pairs without an expert get row -1, and the rows are `rows`, as wanted.
cudaError_t launch_finish_sort(std::int32_t* pair_of, std::int32_t* row_of, const std::int32_t* order,
                               const std::int32_t* offsets, std::int64_t pairs, std::int64_t rows,
                               std::int64_t num_experts, const IdCheck& rows_check, cudaStream_t stream);
/// Notes every id that `check` does not hold for.
cudaError_t launch_check_ids(const std::int32_t* ids, std::int64_t count, const IdCheck& check, cudaStream_t stream);
/// weights (acc) may be null: 1. accumulate: to what y holds.
cudaError_t launch_unpermute_rows(void* y, const void* x, const std::int32_t* row_of, const void* weights,
                                  bool accumulate, DType dtype, const Unpermuted& u, const IdCheck& check,
                                  cudaStream_t stream);
/// weights and dweights may be null.
cudaError_t launch_unpermute_rows_backward(void* dx, void* dweights, const void* dy, const void* x,
                                           const std::int32_t* row_of, const void* weights, DType dtype,
                                           const Unpermuted& u, const IdCheck& check, cudaStream_t stream);

}  // namespace athanor::cuda
