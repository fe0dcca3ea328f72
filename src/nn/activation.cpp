#include "src/nn/activation.hpp"

namespace athanor {
namespace {

Fp8Matrix rows_of(ExecContext& ctx, const Tensor& x_TI, Fp8Scaling scaling) {
  const Fp8Matrix rows = ctx.ops.empty_fp8_rows(x_TI.shape().flat_rows(), x_TI.shape().back());
  ctx.ops.quantize_fp8_rows(rows, x_TI, scaling, ctx.compute);
  return rows;
}

std::int64_t groups_of(const Tensor& offsets_E1) { return offsets_E1.defined() ? offsets_E1.numel() - 1 : 1; }

}  // namespace

std::int64_t Activation::num_rows() const { return x_TI_.defined() ? x_TI_.dim(0) : rows_.values.dim(0); }

Tensor Activation::numbers(ExecContext& ctx) const {
  if (x_TI_.defined()) return x_TI_;
  const Tensor x_TI = ctx.empty(rows_.values.shape());
  ctx.ops.dequantize_fp8_rows(x_TI, rows_, ctx.compute);
  return x_TI;
}

const Fp8Matrix& Activation::fp8_rows(ExecContext& ctx, KeptInputs inputs) {
  if (!rows_.values.defined())
    rows_ = rows_of(ctx, x_TI_, inputs == KeptInputs::fp8 ? Fp8Scaling::power_of_two : Fp8Scaling::exact);
  return rows_;
}

const Fp8Matrix& Activation::fp8_columns(ExecContext& ctx, const Tensor& offsets_E1) {
  if (columns_.values.defined()) return columns_;
  if (x_TI_.defined()) return columns_ = athanor::fp8_columns(ctx, x_TI_, offsets_E1);
  columns_ = ctx.ops.empty_fp8_columns(rows_.values.dim(0), rows_.values.dim(1), groups_of(offsets_E1));
  ctx.ops.retile_fp8_columns(columns_, rows_, offsets_E1, ctx.compute);
  return columns_;
}

Activation Activation::kept(ExecContext& ctx, KeptInputs inputs) {
  Activation kept;
  if (inputs == KeptInputs::fp8 || !x_TI_.defined())
    kept.rows_ = fp8_rows(ctx, inputs);
  else
    kept.x_TI_ = x_TI_;
  return kept;
}

Activation gathered(ExecContext& ctx, const ParallelRanks& ranks, const Activation& kept_TI, KeptInputs inputs) {
  if (ranks.tp_size() == 1) return kept_TI;
  return Activation(ranks.gather(ctx, kept_TI.numbers(ctx))).kept(ctx, inputs);
}

Fp8Matrix fp8_rows(ExecContext& ctx, const Tensor& x_TI) { return rows_of(ctx, x_TI, Fp8Scaling::exact); }

Fp8Matrix fp8_columns(ExecContext& ctx, const Tensor& x_TI, const Tensor& offsets_E1) {
  const Fp8Matrix columns =
      ctx.ops.empty_fp8_columns(x_TI.shape().flat_rows(), x_TI.shape().back(), groups_of(offsets_E1));
  ctx.ops.quantize_fp8_columns(columns, x_TI, offsets_E1, ctx.compute);
  return columns;
}

}  // namespace athanor
