// Rotary position embedding in place: entry pairs (a, b) of a head become (a cos - b sin, a sin + b cos).
#include "src/backend/cuda/call.hpp"
#include "src/backend/cuda/cuda_backend.hpp"
#include "src/backend/cuda/rope_kernels.cuh"

namespace athanor::cuda {

void CudaBackend::rope(Tensor x_TC, const Tensor& positions_T, const Tensor& cos_PR, const Tensor& sin_PR,
                       const RopeArgs& args, Stream& stream) {
  const std::int64_t rows = x_TC.shape().flat_rows(), pairs = args.rope_dim / 2;
  require_floating("rope", x_TC);
  require_rope("rope", x_TC, positions_T, cos_PR, sin_PR, args);
  const RopePlaces places{args.num_heads, args.head_dim, args.offset, pairs, args.layout == RopeLayout::interleaved,
                          args.inverse};
  const Call call("rope", stream, {x_TC, positions_T, cos_PR, sin_PR});
  call.check(launch_rope(raw(x_TC), data<std::int32_t>(positions_T), raw(cos_PR), raw(sin_PR), x_TC.dtype(), rows,
                         places, call.ids("rope (positions)", cos_PR.shape().flat_rows()), call.stream()));
}

}  // namespace athanor::cuda
