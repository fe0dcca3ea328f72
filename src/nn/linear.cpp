#include "src/nn/linear.hpp"

#include "src/base/error.hpp"

namespace athanor {

Linear::Linear(std::string weight_name, std::string bias_name, DType dtype, std::int64_t out_features,
               std::int64_t in_features, double init_std)
    : weight_OI_(matrix_parameter(std::move(weight_name), dtype, {out_features, in_features}, init_std)),
      bias_O_(bias_parameter(std::move(bias_name), dtype, out_features)),
      has_bias_(!bias_O_.name().empty()) {}

void Linear::cut_outputs(const ParallelRanks& ranks) {
  ranks.cut(weight_OI_, 0);
  if (has_bias_) ranks.cut(bias_O_, 0);
}

void Linear::cut_inputs(const ParallelRanks& ranks) {
  if (has_bias_) throw Error(weight_OI_.name() + ": the bias of a sum over ranks would be added once a rank");
  ranks.cut(weight_OI_, 1);
}

void Linear::use_fp8(KeptInputs inputs) {
  require_fp8_sizes(weight_OI_);
  fp8_.emplace();
  kept_inputs_ = inputs;
}

Tensor Linear::forward(ExecContext& ctx, const Tensor& x_TI, Saved& saved) {
  Activation x(x_TI);
  return forward(ctx, x, saved);
}

Tensor Linear::forward(ExecContext& ctx, Activation& x_TI, Saved& saved) {
  Tensor y_TO = ctx.ops.empty({x_TI.num_rows(), out_features()}, x_TI.dtype(ctx));
  forward_into(ctx, x_TI, y_TO, false, saved);
  return y_TO;
}

void Linear::forward_into(ExecContext& ctx, Activation& x_TI, Tensor y_TO, bool accumulate, Saved& saved) {
  const bool fused = has_bias_ && !fp8_ && !accumulate;
  if (fp8_)
    ctx.ops.gemm_fp8(y_TO, x_TI.fp8_rows(ctx, kept_inputs_), fp8_->of(ctx, weight_OI_, Transpose::no), accumulate,
                     ctx.compute);
  else if (fused)
    ctx.ops.gemm_bias(y_TO, x_TI.numbers(ctx), weight_OI_.weight, bias_O_.weight, ctx.compute);
  else
    ctx.ops.gemm(y_TO, x_TI.numbers(ctx), Transpose::no, weight_OI_.weight, Transpose::yes, accumulate, ctx.compute);
  if (has_bias_ && !fused) ctx.ops.add_bias(y_TO, bias_O_.weight, ctx.compute);
  if (ctx.training) saved.x_TI = x_TI.kept(ctx, kept_inputs_);
}

Tensor Linear::backward_input(ExecContext& ctx, const Tensor& dy_TO, Saved& saved) {
  Tensor dx_TI = ctx.ops.empty({dy_TO.dim(0), in_features()}, dy_TO.dtype());
  backward_input_into(ctx, dy_TO, dx_TI, false, saved);
  return dx_TI;
}

void Linear::backward_input_into(ExecContext& ctx, const Tensor& dy_TO, Tensor dx_TI, bool accumulate, Saved& saved) {
  if (fp8_)
    ctx.ops.gemm_fp8(dx_TI, fp8_rows(ctx, dy_TO), fp8_->of(ctx, weight_OI_, Transpose::yes), accumulate, ctx.compute);
  else
    ctx.ops.gemm(dx_TI, dy_TO, Transpose::no, weight_OI_.weight, Transpose::no, accumulate, ctx.compute);
  saved.dy_TO = dy_TO;
}

void Linear::backward_weight(ExecContext& ctx, Saved& saved) {
  Activation x = std::move(saved.x_TI);
  backward_weight(ctx, x, saved);
}

void Linear::backward_weight(ExecContext& ctx, Activation& x_TI, Saved& saved) {
  if (fp8_)
    ctx.ops.gemm_fp8(weight_OI_.grad, fp8_columns(ctx, saved.dy_TO), x_TI.fp8_columns(ctx), true, ctx.compute);
  else
    ctx.ops.gemm(weight_OI_.grad, saved.dy_TO, Transpose::yes, x_TI.numbers(ctx), Transpose::no, true, ctx.compute);
  if (has_bias_) ctx.ops.bias_backward(bias_O_.grad, saved.dy_TO, ctx.compute);
  saved = Saved{};
}

std::vector<Parameter*> Linear::parameters() {
  if (has_bias_) return {&weight_OI_, &bias_O_};
  return {&weight_OI_};
}

}  // namespace athanor
