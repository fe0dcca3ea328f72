#include "src/nn/expert_dispatcher.hpp"

#include <numeric>
#include <utility>

namespace athanor {

std::vector<std::int64_t> LocalDispatcher::local_experts() const {
  std::vector<std::int64_t> experts(static_cast<std::size_t>(num_experts_));
  std::iota(experts.begin(), experts.end(), std::int64_t{0});
  return experts;
}

Tensor LocalDispatcher::finish_dispatch(ExecContext& ctx, const Tensor& x_TD, const Routing& routing,
                                        DispatchHandle& handle) {
  const std::int64_t pairs = routing.expert_ids_TK.numel();
  handle.tokens = x_TD.dim(0);
  handle.pair_of_R = ctx.ops.empty({pairs}, DType::i32);
  handle.row_of_TK = ctx.ops.empty(routing.expert_ids_TK.shape(), DType::i32);
  handle.offsets_E1 = ctx.ops.empty({num_experts_ + 1}, DType::i32);
  ctx.ops.sort_by_expert(handle.pair_of_R, handle.row_of_TK, handle.offsets_E1, routing.expert_ids_TK, ctx.compute);
  Tensor x_RD = ctx.ops.empty({pairs, x_TD.dim(1)}, x_TD.dtype());
  ctx.ops.permute_rows(x_RD, x_TD, handle.pair_of_R, routing.expert_ids_TK.dim(1), ctx.compute);
  return x_RD;
}

void LocalDispatcher::start_combine(ExecContext&, Tensor y_RD, const Routing&, const DispatchHandle&) {
  returning_RD_ = std::move(y_RD);
}

void LocalDispatcher::finish_combine(ExecContext& ctx, Tensor y_TD, bool accumulate, const Routing& routing,
                                     const DispatchHandle& handle) {
  ctx.ops.unpermute_rows(y_TD, std::exchange(returning_RD_, {}), handle.row_of_TK, routing.weights_TK, accumulate,
                         ctx.compute);
}

ExpertDispatcher::RowGradients LocalDispatcher::finish_combine_backward(ExecContext& ctx, const Tensor& dy_TD,
                                                                        const Tensor& y_RD, const Routing& routing,
                                                                        const DispatchHandle& handle) {
  RowGradients gradients{ctx.ops.empty(y_RD.shape(), y_RD.dtype()),
                         ctx.ops.empty(routing.weights_TK.shape(), routing.weights_TK.dtype())};
  ctx.ops.unpermute_rows_backward(gradients.dy_RD, gradients.dweights_CK, dy_TD, y_RD, handle.row_of_TK,
                                  routing.weights_TK, ctx.compute);
  return gradients;
}

void LocalDispatcher::start_dispatch_backward(ExecContext&, Tensor dx_RD, Tensor dweights_CK, const DispatchHandle&) {
  returning_RD_ = std::move(dx_RD);
  dweights_TK_ = std::move(dweights_CK);
}

Tensor LocalDispatcher::finish_dispatch_backward(ExecContext& ctx, Tensor dx_TD, bool accumulate,
                                                 const DispatchHandle& handle) {
  ctx.ops.unpermute_rows(dx_TD, std::exchange(returning_RD_, {}), handle.row_of_TK, Tensor{}, accumulate, ctx.compute);
  return std::exchange(dweights_TK_, {});
}

}  // namespace athanor
