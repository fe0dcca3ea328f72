#include "src/nn/grouped_experts.hpp"

#include <utility>

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

void GroupedExperts::use_fp8(KeptInputs inputs) {
  for (const Parameter* parameter : parameters()) require_fp8_sizes(*parameter);
  fp8_.emplace();
  kept_inputs_ = inputs;
}

void GroupedExperts::multiply(ExecContext& ctx, Tensor y, Activation& x, const Parameter& weight, Fp8Weights Fp8::*form,
                              const Tensor& offsets_E1) {
  if (fp8_)
    ctx.ops.grouped_gemm_fp8(y, x.fp8_rows(ctx, kept_inputs_), ((*fp8_).*form).of(ctx, weight, Transpose::no),
                             offsets_E1, false, ctx.compute);
  else
    ctx.ops.grouped_gemm(y, x.numbers(ctx), weight.weight, offsets_E1, ctx.compute);
}

Tensor GroupedExperts::forward(ExecContext& ctx, Activation x_RD, const Tensor& offsets_E1, Saved& saved) {
  const Shape inner{x_RD.num_rows(), w_gate_EFD_.spec.extent[1]};
  Activation gate_RF(ctx.empty(inner)), up_RF(ctx.empty(inner)), hidden_RF(ctx.empty(inner));
  Tensor y_RD = ctx.empty({x_RD.num_rows(), w_gate_EFD_.spec.extent[2]});
  multiply(ctx, gate_RF.numbers(ctx), x_RD, w_gate_EFD_, &Fp8::w_gate, offsets_E1);
  multiply(ctx, up_RF.numbers(ctx), x_RD, w_up_EFD_, &Fp8::w_up, offsets_E1);
  ctx.ops.swiglu_forward(hidden_RF.numbers(ctx), gate_RF.numbers(ctx), up_RF.numbers(ctx), ctx.compute);
  if (ctx.training) {
    saved.x_RD = x_RD.kept(ctx, kept_inputs_);
    saved.gate_RF = gate_RF.kept(ctx, kept_inputs_);
    saved.up_RF = up_RF.kept(ctx, kept_inputs_);
    saved.offsets_E1 = offsets_E1;
  }
  x_RD = gate_RF = up_RF = Activation{};  // what is not kept goes
  multiply(ctx, y_RD, hidden_RF, w_down_EDF_, &Fp8::w_down, offsets_E1);
  if (ctx.training && ctx.recompute != Recompute::selective) saved.hidden_RF = hidden_RF.kept(ctx, kept_inputs_);
  return y_RD;
}

void GroupedExperts::input_gradient(ExecContext& ctx, Tensor dx, Activation& dy, const Parameter& weight,
                                    Fp8Weights Fp8::*form, const Tensor& offsets_E1, bool accumulate) {
  if (fp8_)
    ctx.ops.grouped_gemm_fp8(dx, dy.fp8_rows(ctx, KeptInputs::numbers), ((*fp8_).*form).of(ctx, weight, Transpose::yes),
                             offsets_E1, accumulate, ctx.compute);
  else
    ctx.ops.grouped_gemm_backward_input(dx, dy.numbers(ctx), weight.weight, offsets_E1, accumulate, ctx.compute);
}

Tensor GroupedExperts::backward_input(ExecContext& ctx, Activation dy_RD, Saved& saved) {
  saved.dgate_RF = std::exchange(saved.gate_RF, Activation{}).numbers(ctx);
  saved.dup_RF = std::exchange(saved.up_RF, Activation{}).numbers(ctx);
  if (!saved.hidden_RF.defined()) {
    Activation hidden_RF(ctx.empty(saved.dgate_RF.shape()));
    ctx.ops.swiglu_forward(hidden_RF.numbers(ctx), saved.dgate_RF, saved.dup_RF, ctx.compute);
    saved.hidden_RF = hidden_RF.kept(ctx, kept_inputs_);
  }
  const Tensor dhidden_RF = ctx.empty(saved.dgate_RF.shape());
  input_gradient(ctx, dhidden_RF, dy_RD, w_down_EDF_, &Fp8::w_down, saved.offsets_E1, false);
  ctx.ops.swiglu_backward(saved.dgate_RF, saved.dup_RF, dhidden_RF, saved.dgate_RF, saved.dup_RF, ctx.compute);
  saved.dy_RD = dy_RD.kept(ctx, KeptInputs::numbers);
  Tensor dx_RD = ctx.empty({dy_RD.num_rows(), w_gate_EFD_.spec.extent[2]});
  dy_RD = Activation{};
  Activation dup_RF(saved.dup_RF), dgate_RF(saved.dgate_RF);
  input_gradient(ctx, dx_RD, dup_RF, w_up_EFD_, &Fp8::w_up, saved.offsets_E1, false);
  dup_RF = Activation{};
  input_gradient(ctx, dx_RD, dgate_RF, w_gate_EFD_, &Fp8::w_gate, saved.offsets_E1, true);
  return dx_RD;
}

void GroupedExperts::weight_gradient(ExecContext& ctx, const Parameter& weight, Activation dy, Activation& x,
                                     const Tensor& offsets_E1) {
  if (fp8_)
    ctx.ops.grouped_gemm_fp8_weight(weight.grad, dy.fp8_columns(ctx, offsets_E1), x.fp8_columns(ctx, offsets_E1),
                                    offsets_E1, ctx.compute);
  else
    ctx.ops.grouped_gemm_backward_weight(weight.grad, dy.numbers(ctx), x.numbers(ctx), offsets_E1, ctx.compute);
}

void GroupedExperts::backward_weight(ExecContext& ctx, Saved& saved) {
  weight_gradient(ctx, w_gate_EFD_, Activation(saved.dgate_RF), saved.x_RD, saved.offsets_E1);
  weight_gradient(ctx, w_up_EFD_, Activation(saved.dup_RF), saved.x_RD, saved.offsets_E1);
  saved.x_RD = Activation{};
  weight_gradient(ctx, w_down_EDF_, saved.dy_RD, saved.hidden_RF, saved.offsets_E1);
  saved = Saved{};
}

}  // namespace athanor
