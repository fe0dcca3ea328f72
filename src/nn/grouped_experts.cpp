#include "src/nn/grouped_experts.hpp"

namespace athanor {

GroupedExperts::GroupedExperts(const std::string& prefix, DType dtype, std::int64_t num_experts,
                               const std::vector<std::int64_t>& local_experts, std::int64_t dim, std::int64_t inter_dim,
                               double init_std)
    : w_gate_EFD_(matrix_parameter(prefix + ".w_gate", dtype, {num_experts, inter_dim, dim}, init_std)),
      w_up_EFD_(matrix_parameter(prefix + ".w_up", dtype, {num_experts, inter_dim, dim}, init_std)),
      w_down_EDF_(matrix_parameter(prefix + ".w_down", dtype, {num_experts, dim, inter_dim}, init_std)) {
  for (Parameter* parameter : parameters()) {
    parameter->group = GradientGroup::expert;
    hold_rows(*parameter, local_experts);
  }
}

Tensor GroupedExperts::forward(ExecContext& ctx, const Tensor& x_RD, const Tensor& offsets_E1, Saved& saved) {
  const Shape inner{x_RD.dim(0), w_gate_EFD_.spec.extent[1]};
  const Tensor gate_RF = ctx.empty(inner), up_RF = ctx.empty(inner), hidden_RF = ctx.empty(inner);
  ctx.ops.grouped_gemm(gate_RF, x_RD, w_gate_EFD_.weight, offsets_E1, ctx.compute);
  ctx.ops.grouped_gemm(up_RF, x_RD, w_up_EFD_.weight, offsets_E1, ctx.compute);
  ctx.ops.swiglu_forward(hidden_RF, gate_RF, up_RF, ctx.compute);
  Tensor y_RD = ctx.empty(x_RD.shape());
  ctx.ops.grouped_gemm(y_RD, hidden_RF, w_down_EDF_.weight, offsets_E1, ctx.compute);
  if (ctx.training) {
    saved.x_RD = x_RD;
    saved.gate_RF = gate_RF;
    saved.up_RF = up_RF;
    if (ctx.recompute != Recompute::selective) saved.hidden_RF = hidden_RF;
    saved.offsets_E1 = offsets_E1;
  }
  return y_RD;
}

Tensor GroupedExperts::backward_input(ExecContext& ctx, const Tensor& dy_RD, Saved& saved) {
  if (!saved.hidden_RF.defined()) {
    saved.hidden_RF = ctx.empty(saved.gate_RF.shape());
    ctx.ops.swiglu_forward(saved.hidden_RF, saved.gate_RF, saved.up_RF, ctx.compute);
  }
  const Tensor dhidden_RF = ctx.empty(saved.hidden_RF.shape());
  ctx.ops.grouped_gemm_backward_input(dhidden_RF, dy_RD, w_down_EDF_.weight, saved.offsets_E1, false, ctx.compute);
  ctx.ops.swiglu_backward(saved.gate_RF, saved.up_RF, dhidden_RF, saved.gate_RF, saved.up_RF, ctx.compute);
  saved.dgate_RF = std::move(saved.gate_RF);
  saved.dup_RF = std::move(saved.up_RF);
  saved.gate_RF = saved.up_RF = Tensor{};
  saved.dy_RD = dy_RD;
  Tensor dx_RD = ctx.empty(dy_RD.shape());
  ctx.ops.grouped_gemm_backward_input(dx_RD, saved.dup_RF, w_up_EFD_.weight, saved.offsets_E1, false, ctx.compute);
  ctx.ops.grouped_gemm_backward_input(dx_RD, saved.dgate_RF, w_gate_EFD_.weight, saved.offsets_E1, true, ctx.compute);
  return dx_RD;
}

void GroupedExperts::backward_weight(ExecContext& ctx, Saved& saved) {
  const Tensor& offsets_E1 = saved.offsets_E1;
  ctx.ops.grouped_gemm_backward_weight(w_gate_EFD_.grad, saved.dgate_RF, saved.x_RD, offsets_E1, ctx.compute);
  ctx.ops.grouped_gemm_backward_weight(w_up_EFD_.grad, saved.dup_RF, saved.x_RD, offsets_E1, ctx.compute);
  ctx.ops.grouped_gemm_backward_weight(w_down_EDF_.grad, saved.dy_RD, saved.hidden_RF, offsets_E1, ctx.compute);
  saved = Saved{};
}

}  // namespace athanor
