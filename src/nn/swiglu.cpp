#include "src/nn/swiglu.hpp"

#include <utility>

#include "src/nn/parameter_list.hpp"

namespace athanor {
namespace {

Tensor hidden_of(ExecContext& ctx, const Tensor& gate_TF, const Tensor& up_TF) {
  Tensor hidden_TF = ctx.ops.empty(gate_TF.shape(), gate_TF.dtype());
  ctx.ops.swiglu_forward(hidden_TF, gate_TF, up_TF, ctx.compute);
  return hidden_TF;
}

}  // namespace

SwiGlu::SwiGlu(const std::string& prefix, DType dtype, std::int64_t dim, std::int64_t inter_dim, double init_std,
               const ParallelRanks& ranks)
    : w_gate_(prefix + ".w_gate", "", dtype, inter_dim, dim, init_std),
      w_up_(prefix + ".w_up", "", dtype, inter_dim, dim, init_std),
      w_down_(prefix + ".w_down", "", dtype, dim, inter_dim, init_std),
      ranks_(ranks) {
  w_gate_.cut_outputs(ranks);
  w_up_.cut_outputs(ranks);
  w_down_.cut_inputs(ranks);
}

Tensor SwiGlu::forward(ExecContext& ctx, const Tensor& x_TD, Saved& saved) {
  Tensor y_TD = ctx.ops.empty(x_TD.shape(), x_TD.dtype());
  forward_inner(ctx, x_TD, saved);
  forward_outer(ctx, y_TD, false, saved);
  return y_TD;
}

void SwiGlu::forward_inner(ExecContext& ctx, const Tensor& x_TD, Saved& saved) {
  Activation all_TD(ranks_.gather(ctx, x_TD));
  Activation gate_TF(w_gate_.forward(ctx, all_TD, saved.w_gate));
  Activation up_TF(w_up_.forward(ctx, all_TD, saved.w_up));
  saved.hidden_TF = hidden_of(ctx, gate_TF.numbers(ctx), up_TF.numbers(ctx));
  if (ctx.training) {
    if (ranks_.tp_size() > 1) saved.w_gate.x_TI = saved.w_up.x_TI = Activation(x_TD).kept(ctx, w_up_.kept_inputs());
    saved.gate_TF = gate_TF.kept(ctx, w_up_.kept_inputs());
    saved.up_TF = up_TF.kept(ctx, w_up_.kept_inputs());
  }
}

void SwiGlu::forward_outer(ExecContext& ctx, Tensor y_TD, bool accumulate, Saved& saved) {
  Activation hidden_TF(std::exchange(saved.hidden_TF, Tensor{}));  // lives on as w_down's input where backward follows
  if (ranks_.tp_size() == 1)
    w_down_.forward_into(ctx, hidden_TF, y_TD, accumulate, saved.w_down);
  else
    ranks_.sum_scatter_into(ctx, w_down_.forward(ctx, hidden_TF, saved.w_down), y_TD, accumulate);
  if (ctx.recompute == Recompute::selective) saved.w_down.x_TI = Activation{};
}

Tensor SwiGlu::backward_input(ExecContext& ctx, const Tensor& dy_TD, Saved& saved) {
  Tensor dx_TD = ctx.ops.empty(dy_TD.shape(), dy_TD.dtype());
  backward_outer(ctx, dy_TD, saved);
  backward_inner(ctx, dx_TD, false, saved);
  return dx_TD;
}

void SwiGlu::backward_outer(ExecContext& ctx, const Tensor& dy_TD, Saved& saved) {
  const Tensor dhidden_TF = w_down_.backward_input(ctx, ranks_.gather(ctx, dy_TD), saved.w_down);
  saved.dgate_TF = std::exchange(saved.gate_TF, Activation{}).numbers(ctx);
  saved.dup_TF = std::exchange(saved.up_TF, Activation{}).numbers(ctx);
  if (!saved.w_down.x_TI.defined())
    saved.w_down.x_TI = Activation(hidden_of(ctx, saved.dgate_TF, saved.dup_TF)).kept(ctx, w_down_.kept_inputs());
  ctx.ops.swiglu_backward(saved.dgate_TF, saved.dup_TF, dhidden_TF, saved.dgate_TF, saved.dup_TF, ctx.compute);
}

void SwiGlu::backward_inner(ExecContext& ctx, Tensor dx_TD, bool accumulate, Saved& saved) {
  if (ranks_.tp_size() == 1) {
    w_gate_.backward_input_into(ctx, saved.dgate_TF, dx_TD, accumulate, saved.w_gate);
    w_up_.backward_input_into(ctx, saved.dup_TF, dx_TD, true, saved.w_up);
  } else {
    saved.w_gate.x_TI = saved.w_up.x_TI = gathered(ctx, ranks_, saved.w_up.x_TI, w_up_.kept_inputs());
    const Tensor partial_TD = w_gate_.backward_input(ctx, saved.dgate_TF, saved.w_gate);
    w_up_.backward_input_into(ctx, saved.dup_TF, partial_TD, true, saved.w_up);
    ranks_.sum_scatter_into(ctx, partial_TD, dx_TD, accumulate);
  }
  saved.dgate_TF = saved.dup_TF = Tensor{};
}

void SwiGlu::backward_weight(ExecContext& ctx, Saved& saved) {
  {
    Activation x_TD = std::exchange(saved.w_gate.x_TI, Activation{});
    w_gate_.backward_weight(ctx, x_TD, saved.w_gate);
    w_up_.backward_weight(ctx, x_TD, saved.w_up);
  }
  w_down_.backward_weight(ctx, saved.w_down);
}

void SwiGlu::use_fp8(KeptInputs inputs) {
  for (Linear* linear : {&w_gate_, &w_up_, &w_down_}) linear->use_fp8(inputs);
}

std::vector<Parameter*> SwiGlu::parameters() { return parameters_of(w_gate_, w_up_, w_down_); }

}  // namespace athanor
