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

void GroupedExperts::use_fp8() {
  for (const Parameter* parameter : parameters()) require_fp8_sizes(*parameter);
  fp8_.emplace();
}

Tensor GroupedExperts::forward(ExecContext& ctx, const Tensor& x_RD, const Tensor& offsets_E1, Saved& saved) {
  const Shape inner{x_RD.dim(0), w_gate_EFD_.spec.extent[1]};
  const Tensor gate_RF = ctx.empty(inner), up_RF = ctx.empty(inner), hidden_RF = ctx.empty(inner);
  Tensor y_RD = ctx.empty(x_RD.shape());
  if (fp8_) {
    const Fp8Matrix x = fp8_rows(ctx, x_RD);
    ctx.ops.grouped_gemm_fp8(gate_RF, x, fp8_->w_gate.of(ctx, w_gate_EFD_, Transpose::no), offsets_E1, false,
                             ctx.compute);
    ctx.ops.grouped_gemm_fp8(up_RF, x, fp8_->w_up.of(ctx, w_up_EFD_, Transpose::no), offsets_E1, false, ctx.compute);
    ctx.ops.swiglu_forward(hidden_RF, gate_RF, up_RF, ctx.compute);
    ctx.ops.grouped_gemm_fp8(y_RD, fp8_rows(ctx, hidden_RF), fp8_->w_down.of(ctx, w_down_EDF_, Transpose::no),
                             offsets_E1, false, ctx.compute);
  } else {
    ctx.ops.grouped_gemm(gate_RF, x_RD, w_gate_EFD_.weight, offsets_E1, ctx.compute);
    ctx.ops.grouped_gemm(up_RF, x_RD, w_up_EFD_.weight, offsets_E1, ctx.compute);
    ctx.ops.swiglu_forward(hidden_RF, gate_RF, up_RF, ctx.compute);
    ctx.ops.grouped_gemm(y_RD, hidden_RF, w_down_EDF_.weight, offsets_E1, ctx.compute);
  }
  if (ctx.training) {
    saved.x_RD = x_RD;
    saved.gate_RF = gate_RF;
    saved.up_RF = up_RF;
    if (ctx.recompute != Recompute::selective) saved.hidden_RF = hidden_RF;
    saved.offsets_E1 = offsets_E1;
  }
  return y_RD;
}

void GroupedExperts::input_gradient(ExecContext& ctx, Tensor dx, const Tensor& dy, const Parameter& weight,
                                    Fp8Weights Fp8::*form, const Tensor& offsets_E1, bool accumulate) {
  if (fp8_)
    ctx.ops.grouped_gemm_fp8(dx, fp8_rows(ctx, dy), ((*fp8_).*form).of(ctx, weight, Transpose::yes), offsets_E1,
                             accumulate, ctx.compute);
  else
    ctx.ops.grouped_gemm_backward_input(dx, dy, weight.weight, offsets_E1, accumulate, ctx.compute);
}

Tensor GroupedExperts::backward_input(ExecContext& ctx, const Tensor& dy_RD, Saved& saved) {
  if (!saved.hidden_RF.defined()) {
    saved.hidden_RF = ctx.empty(saved.gate_RF.shape());
    ctx.ops.swiglu_forward(saved.hidden_RF, saved.gate_RF, saved.up_RF, ctx.compute);
  }
  const Tensor dhidden_RF = ctx.empty(saved.hidden_RF.shape());
  input_gradient(ctx, dhidden_RF, dy_RD, w_down_EDF_, &Fp8::w_down, saved.offsets_E1, false);
  ctx.ops.swiglu_backward(saved.gate_RF, saved.up_RF, dhidden_RF, saved.gate_RF, saved.up_RF, ctx.compute);
  saved.dgate_RF = std::move(saved.gate_RF);
  saved.dup_RF = std::move(saved.up_RF);
  saved.gate_RF = saved.up_RF = Tensor{};
  saved.dy_RD = dy_RD;
  Tensor dx_RD = ctx.empty(dy_RD.shape());
  input_gradient(ctx, dx_RD, saved.dup_RF, w_up_EFD_, &Fp8::w_up, saved.offsets_E1, false);
  input_gradient(ctx, dx_RD, saved.dgate_RF, w_gate_EFD_, &Fp8::w_gate, saved.offsets_E1, true);
  return dx_RD;
}

void GroupedExperts::backward_weight(ExecContext& ctx, Saved& saved) {
  const Tensor& offsets_E1 = saved.offsets_E1;
  if (fp8_) {
    const Fp8Matrix x = fp8_columns(ctx, saved.x_RD, offsets_E1);
    const auto add = [&](const Parameter& weight, const Tensor& dy, const Fp8Matrix& input) {
      ctx.ops.grouped_gemm_fp8_weight(weight.grad, fp8_columns(ctx, dy, offsets_E1), input, offsets_E1, ctx.compute);
    };
    add(w_gate_EFD_, saved.dgate_RF, x);
    add(w_up_EFD_, saved.dup_RF, x);
    add(w_down_EDF_, saved.dy_RD, fp8_columns(ctx, saved.hidden_RF, offsets_E1));
  } else {
    ctx.ops.grouped_gemm_backward_weight(w_gate_EFD_.grad, saved.dgate_RF, saved.x_RD, offsets_E1, ctx.compute);
    ctx.ops.grouped_gemm_backward_weight(w_up_EFD_.grad, saved.dup_RF, saved.x_RD, offsets_E1, ctx.compute);
    ctx.ops.grouped_gemm_backward_weight(w_down_EDF_.grad, saved.dy_RD, saved.hidden_RF, offsets_E1, ctx.compute);
  }
  saved = Saved{};
}

}  // namespace athanor
