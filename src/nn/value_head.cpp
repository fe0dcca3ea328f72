#include "src/nn/value_head.hpp"

#include <cmath>

namespace athanor {

ValueHead::ValueHead(DType dtype, std::int64_t dim, const ParallelRanks& ranks)
    : linear_("value_head.weight", "value_head.bias", accumulation_dtype(dtype), 1, dim,
              1.0 / std::sqrt(static_cast<double>(dim) + 1.0)),
      ranks_(ranks) {}

Tensor ValueHead::forward(ExecContext& ctx, const Tensor& h_TD, Saved& saved) {
  Tensor h_acc = h_TD;
  if (h_TD.dtype() != ctx.acc()) {
    h_acc = ctx.empty_acc(h_TD.shape());
    ctx.ops.copy(h_acc, h_TD, ctx.compute);
  }
  return ranks_.gather(ctx, linear_.forward(ctx, h_acc, saved.linear));
}

Tensor ValueHead::backward_input(ExecContext& ctx, const Tensor& dvalues_T1, Saved& saved) {
  const std::int64_t rows = dvalues_T1.dim(0) / ranks_.tp_size(), first = ranks_.tp_rank() * rows;
  const Tensor dh_acc = linear_.backward_input(ctx, dvalues_T1.rows(first, first + rows), saved.linear);
  if (ctx.dtype == ctx.acc()) return dh_acc;
  const Tensor dh_TD = ctx.empty(dh_acc.shape());
  ctx.ops.copy(dh_TD, dh_acc, ctx.compute);
  return dh_TD;
}

void ValueHead::backward_weight(ExecContext& ctx, Saved& saved) { linear_.backward_weight(ctx, saved.linear); }

}  // namespace athanor
