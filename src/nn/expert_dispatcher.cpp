#include "src/nn/expert_dispatcher.hpp"

#include <numeric>
#include <utility>

#include "src/backend/operand_shapes.hpp"

namespace athanor {

Tensor ExpertDispatcher::rows_to_send(ExecContext& ctx, const Tensor& x_TD, const DispatchHandle& handle) {
  if (!handle.fp8) return x_TD;
  const Fp8Matrix rows = ctx.ops.empty_fp8_rows(x_TD.dim(0), x_TD.dim(1));
  ctx.ops.quantize_fp8_rows(rows, x_TD, Fp8Scaling::power_of_two, ctx.compute);
  Tensor packed_TP = ctx.ops.empty({x_TD.dim(0), fp8_row_bytes(x_TD.dim(1))}, DType::u8);
  ctx.ops.pack_fp8_rows(packed_TP, rows, ctx.compute);
  return packed_TP;
}

Activation ExpertDispatcher::rows_of_experts(ExecContext& ctx, const Tensor& x_CP, const Tensor& x_TD,
                                             const Tensor& expert_ids_CK, std::int64_t rows, std::int64_t num_experts,
                                             DispatchHandle& handle) {
  const std::int64_t width = x_TD.dim(1), top_k = expert_ids_CK.dim(1);
  handle.pair_of_R = ctx.ops.empty({rows}, DType::i32);
  handle.row_of_TK = ctx.ops.empty(expert_ids_CK.shape(), DType::i32);
  handle.offsets_E1 = ctx.ops.empty({num_experts + 1}, DType::i32);
  ctx.ops.sort_by_expert(handle.pair_of_R, handle.row_of_TK, handle.offsets_E1, expert_ids_CK, ctx.compute);
  if (handle.fp8) {
    const Fp8Matrix x_RD = ctx.ops.empty_fp8_rows(rows, width);
    ctx.ops.permute_fp8_rows(x_RD, x_CP, handle.pair_of_R, top_k, ctx.compute);
    return Activation(x_RD);
  }
  const Tensor x_RD = ctx.ops.empty({rows, width}, x_TD.dtype());
  ctx.ops.permute_rows(x_RD, x_CP, handle.pair_of_R, top_k, ctx.compute);
  return Activation(x_RD);
}

ExpertDispatcher::RowGradients ExpertDispatcher::row_gradients(ExecContext& ctx, const Tensor& dy_CP,
                                                               const Tensor& y_RD, const Tensor& weights_CK,
                                                               const DispatchHandle& handle) {
  const Tensor dweights_CK = ctx.ops.empty(weights_CK.shape(), weights_CK.dtype());
  if (handle.fp8) {
    const Fp8Matrix dy_RD = ctx.ops.empty_fp8_rows(y_RD.dim(0), y_RD.dim(1));
    ctx.ops.unpermute_fp8_rows_backward(dy_RD, dweights_CK, dy_CP, y_RD, handle.row_of_TK, weights_CK, ctx.compute);
    return {Activation(dy_RD), dweights_CK};
  }
  const Tensor dy_RD = ctx.ops.empty(y_RD.shape(), y_RD.dtype());
  ctx.ops.unpermute_rows_backward(dy_RD, dweights_CK, dy_CP, y_RD, handle.row_of_TK, weights_CK, ctx.compute);
  return {Activation(dy_RD), dweights_CK};
}

std::vector<std::int64_t> LocalDispatcher::local_experts() const {
  std::vector<std::int64_t> experts(static_cast<std::size_t>(num_experts_));
  std::iota(experts.begin(), experts.end(), std::int64_t{0});
  return experts;
}

Activation LocalDispatcher::finish_dispatch(ExecContext& ctx, const Tensor& x_TD, const Routing& routing,
                                            DispatchHandle& handle) {
  handle.tokens = x_TD.dim(0);
  return rows_of_experts(ctx, rows_to_send(ctx, x_TD, handle), x_TD, routing.expert_ids_TK,
                         routing.expert_ids_TK.numel(), num_experts_, handle);
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
  return row_gradients(ctx, rows_to_send(ctx, dy_TD, handle), y_RD, routing.weights_TK, handle);
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
