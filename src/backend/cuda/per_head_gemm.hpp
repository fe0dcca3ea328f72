// The per-head products of absorbed MLA on one GPU (backend.hpp says what they mean): a grouped product whose groups
// are the heads. `stream` must be a CudaStream of the tensors' device.
#pragma once

#include <cstdint>

#include "src/backend/backend.hpp"

namespace athanor::cuda {

void per_head_gemm(Tensor y, const Tensor& x, const Tensor& w, std::int64_t num_heads, std::int64_t stride,
                   std::int64_t first, std::int64_t count, Transpose transpose, Stream& stream);

}  // namespace athanor::cuda
