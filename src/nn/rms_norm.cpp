#include "src/nn/rms_norm.hpp"

namespace athanor {

RmsNorm::RmsNorm(std::string weight_name, DType dtype, std::int64_t size, double eps)
    : weight_D_(norm_parameter(std::move(weight_name), dtype, size)), eps_(eps) {}

Tensor RmsNorm::forward(ExecContext& ctx, const Tensor& x_TD, Saved& saved) {
  Tensor y_TD = ctx.ops.empty(x_TD.shape(), x_TD.dtype());
  Tensor rstd_T = ctx.ops.empty({x_TD.dim(0)}, accumulation_dtype(x_TD.dtype()));
  ctx.ops.rms_norm_forward(y_TD, rstd_T, x_TD, weight_D_.weight, eps_, ctx.compute);
  if (ctx.training) {
    saved.x_TD = x_TD;
    saved.rstd_T = rstd_T;
  }
  return y_TD;
}

Tensor RmsNorm::backward_input(ExecContext& ctx, const Tensor& dy_TD, Saved& saved) {
  return backward_input(ctx, dy_TD, Tensor{}, saved);
}

Tensor RmsNorm::backward_input(ExecContext& ctx, const Tensor& dy_TD, const Tensor& dresidual_TD, Saved& saved) {
  Tensor dx_TD = ctx.ops.empty(dy_TD.shape(), dy_TD.dtype());
  ctx.ops.rms_norm_backward_input(dx_TD, dy_TD, saved.x_TD, weight_D_.weight, saved.rstd_T, dresidual_TD, ctx.compute);
  saved.dy_TD = dy_TD;
  return dx_TD;
}

void RmsNorm::backward_weight(ExecContext& ctx, Saved& saved) {
  ctx.ops.rms_norm_backward_weight(weight_D_.grad, saved.dy_TD, saved.x_TD, saved.rstd_T, ctx.compute);
  saved = Saved{};
}

}  // namespace athanor
