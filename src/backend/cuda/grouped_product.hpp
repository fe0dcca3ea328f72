// Which kernel does a grouped product: the host's side of grouped_gemm_kernels.cuh.
#pragma once

#include "src/backend/cuda/call.hpp"
#include "src/backend/cuda/grouped_gemm_kernels.cuh"

namespace athanor::cuda {

/// Enqueues it. bf16 of whole vectors runs on Hopper with tiles of the copy engine, elsewhere and otherwise with those
/// of mma.cuh. @throws Error naming the operation where the runtime refuses the launch.
void run_grouped_product(GroupedProduct product, DType in, DType out, const Call& call);

/// Operands of `element_bytes` described for tiles of 128 bytes of depth and `columns` columns. Rows and groups are
/// those of `product`; its depth is above 0.
TiledProduct tiled_product(const GroupedProduct& product, int element_bytes, int columns);

/// GroupedProduct::whole_c.
bool has_whole_c(const GroupedProduct& product, DType out);

}  // namespace athanor::cuda
