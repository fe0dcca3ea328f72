// Attention on Hopper's kernels: the host's side of attention_tiled.cuh.
#pragma once

#include "src/backend/backend.hpp"
#include "src/backend/cuda/attention_kernels.cuh"
#include "src/backend/cuda/call.hpp"

namespace athanor::cuda {

/// How many rows tiles have where these kernels serve the operands (all of them defined, bf16); 0: they do not.
TiledShape tiled_attend_shape_of(std::initializer_list<const Tensor*> operands, const AttentionArgs& args,
                                 const Call& call);
TiledShape tiled_attend_backward_shape_of(std::initializer_list<const Tensor*> operands, const AttentionArgs& args,
                                          const Call& call);
/// q, k and v of args described to the copy engine. @param tokens, keys  rows of q; of k and v. Above 0.
TiledAttend tiled_attend(const AttendArgs<bf16>& args, const TiledShape& shape, std::int64_t tokens, std::int64_t keys);
TiledAttendBackward tiled_attend_backward(const AttendBackwardArgs<bf16>& args, const TiledShape& shape,
                                          std::int64_t tokens, std::int64_t keys);

}  // namespace athanor::cuda
