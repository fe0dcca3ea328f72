// Sums of the contributions of several ranks that lie in the memory of one device.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "src/base/dtype.hpp"

namespace athanor::cuda {

enum class RankReduction : std::uint8_t { sum, mean, max };

/// out[i] = contribution 0 op contribution 1 op ... in this order; bf16 and f32 in f32, rounded once; a NaN of any rank
/// stays under max. The bits are those of reduce_in_rank_order (parallel/mpi). Contribution r is others + r *
/// stride_bytes but for r == rank: `own`, which may be out. Floating types.
cudaError_t launch_rank_sum(void* out, const void* own, const void* others, std::size_t stride_bytes, int rank,
                            int ranks, std::int64_t count, DType dtype, RankReduction op, cudaStream_t stream);

}  // namespace athanor::cuda
