// Rotary position embedding in place: entry pairs (a, b) of a head become (a cos - b sin, a sin + b cos).
#include "src/backend/cuda/call.hpp"
#include "src/backend/cuda/cuda_backend.hpp"
#include "src/backend/cuda/rope_kernels.cuh"

namespace athanor::cuda {

void CudaBackend::rope(Tensor x_TC, const Tensor& positions_T, const Tensor& cos_PR, const Tensor& sin_PR,
                       const RopeArgs& args, Stream& stream) {
  const std::int64_t rows = x_TC.shape().flat_rows(), pairs = args.rope_dim / 2;
  require_floating("rope", x_TC);
  require(
      x_TC.shape().back() == args.num_heads * args.head_dim, "rope",
      [&] { return std::to_string(args.num_heads) + " heads of " + std::to_string(args.head_dim); }, x_TC);
  require(
      args.rope_dim % 2 == 0 && args.offset >= 0 && args.offset + args.rope_dim <= args.head_dim, "rope",
      [&] {
        return "an even rope_dim " + std::to_string(args.rope_dim) + " at offset " + std::to_string(args.offset) +
               " within a head of " + std::to_string(args.head_dim);
      },
      x_TC);
  require(is_ids(positions_T, rows), "rope", "one i32 position a row", positions_T, x_TC);
  require(
      cos_PR.shape() == sin_PR.shape() && cos_PR.shape().back() == pairs &&
          cos_PR.dtype() == accumulation_dtype(x_TC.dtype()) && sin_PR.dtype() == cos_PR.dtype(),
      "rope", [&] { return "tables [positions, " + std::to_string(pairs) + "] of the accumulation type"; }, cos_PR,
      sin_PR);
  const RopePlaces places{args.num_heads, args.head_dim, args.offset, pairs, args.layout == RopeLayout::interleaved,
                          args.inverse};
  const Call call("rope", stream, {x_TC, positions_T, cos_PR, sin_PR});
  call.check(launch_rope(raw(x_TC), data<std::int32_t>(positions_T), raw(cos_PR), raw(sin_PR), x_TC.dtype(), rows,
                         places, call.ids("rope (positions)", cos_PR.shape().flat_rows()), call.stream()));
}

}  // namespace athanor::cuda
