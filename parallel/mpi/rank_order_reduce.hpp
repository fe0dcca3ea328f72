// The arithmetic of a reduction over ranks, without messages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "src/backend/communicator.hpp"
#include "src/base/dtype.hpp"

namespace athanor {

/// out[i] = contributions[0][i] op contributions[1][i] op ..., in this order; bf16 accumulates in f32 and rounds once.
/// out may be one of the contributions. Host memory. @throws Error for the mean of integers.
void reduce_in_rank_order(std::byte* out, std::span<const std::byte* const> contributions, std::int64_t count,
                          DType dtype, ReduceOp op);

}  // namespace athanor
