#include "src/nn/expert_dispatcher.hpp"

#include <numeric>

namespace athanor {

std::vector<std::int64_t> LocalDispatcher::local_experts() const {
  std::vector<std::int64_t> experts(static_cast<std::size_t>(num_experts_));
  std::iota(experts.begin(), experts.end(), std::int64_t{0});
  return experts;
}

Tensor LocalDispatcher::finish_dispatch(ExecContext& ctx, const Tensor& x_TD, const Routing& routing,
                                        DispatchHandle& handle) {
  const std::int64_t pairs = routing.expert_ids_TK.numel();
  handle.pair_of_R = ctx.ops.empty({pairs}, DType::i32);
  handle.row_of_TK = ctx.ops.empty(routing.expert_ids_TK.shape(), DType::i32);
  handle.offsets_E1 = ctx.ops.empty({num_experts_ + 1}, DType::i32);
  ctx.ops.sort_by_expert(handle.pair_of_R, handle.row_of_TK, handle.offsets_E1, routing.expert_ids_TK, ctx.compute);
  Tensor x_RD = ctx.ops.empty({pairs, x_TD.dim(1)}, x_TD.dtype());
  ctx.ops.permute_rows(x_RD, x_TD, handle.pair_of_R, routing.expert_ids_TK.dim(1), ctx.compute);
  return x_RD;
}

Tensor LocalDispatcher::combine(ExecContext& ctx, const Tensor& y_RD, const Routing& routing,
                                const DispatchHandle& handle) {
  Tensor y_TD = ctx.ops.empty({handle.row_of_TK.dim(0), y_RD.dim(1)}, y_RD.dtype());
  ctx.ops.unpermute_rows(y_TD, y_RD, handle.row_of_TK, routing.weights_TK, ctx.compute);
  return y_TD;
}

Tensor LocalDispatcher::finish_combine_backward(ExecContext& ctx, const Tensor& dy_TD, const Tensor& y_RD,
                                                const Routing& routing, const DispatchHandle& handle,
                                                Tensor dweights_TK) {
  Tensor dy_RD = ctx.ops.empty(y_RD.shape(), y_RD.dtype());
  ctx.ops.unpermute_rows_backward(dy_RD, dweights_TK, dy_TD, y_RD, handle.row_of_TK, routing.weights_TK, ctx.compute);
  return dy_RD;
}

Tensor LocalDispatcher::dispatch_backward(ExecContext& ctx, const Tensor& dx_RD, const DispatchHandle& handle) {
  Tensor dx_TD = ctx.ops.empty({handle.row_of_TK.dim(0), dx_RD.dim(1)}, dx_RD.dtype());
  ctx.ops.unpermute_rows(dx_TD, dx_RD, handle.row_of_TK, Tensor{}, ctx.compute);
  return dx_TD;
}

}  // namespace athanor
