// Kernels of rope.cpp and mla_assemble.cpp.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "src/backend/cuda/id_check.cuh"
#include "src/backend/operand_shapes.hpp"
#include "src/base/dtype.hpp"

namespace athanor::cuda {

/// Where the rotated entries of a row lie.
struct RopePlaces {
  std::int64_t heads, head_dim, offset, pairs;
  bool interleaved;  ///< pairs (2i, 2i+1), else (i, i + pairs)
  bool inverse;
};
cudaError_t launch_rope(void* x, const std::int32_t* positions, const void* cosines, const void* sines, DType dtype,
                        std::int64_t rows, const RopePlaces& places, const IdCheck& check, cudaStream_t stream);

cudaError_t launch_mla_assemble_kv(void* k, void* v, const void* kv, const void* k_pe, DType dtype, const MlaWidths& w,
                                   cudaStream_t stream);
cudaError_t launch_mla_assemble_kv_backward(void* dkv, void* dk_pe, const void* dk, const void* dv, DType dtype,
                                            const MlaWidths& w, cudaStream_t stream);

}  // namespace athanor::cuda
