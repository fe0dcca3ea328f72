#include "src/nn/lm_head.hpp"

namespace athanor {
namespace {

Tensor rows_of(ExecContext& ctx, const std::vector<std::int32_t>& order) {
  return upload_vector<std::int32_t>(ctx.ops, order, {std::ssize(order)}, ctx.compute);
}

}  // namespace

LmHead::LmHead(std::string weight_name, DType dtype, std::int64_t vocab_size, std::int64_t dim, double init_std,
               const ParallelRanks& ranks)
    : own_(matrix_parameter(std::move(weight_name), dtype, {vocab_size, dim}, init_std)),
      weight_VD_(&own_),
      ranks_(ranks) {
  ranks.cut(own_, 0);
}

LmHead::LmHead(Parameter& tied, const ParallelRanks& ranks) : weight_VD_(&tied), ranks_(ranks) {}

void LmHead::logits_into(ExecContext& ctx, const Tensor& h_TD, Tensor logits_TV) {
  ctx.ops.gemm(logits_TV, h_TD, Transpose::no, weight_VD_->weight, Transpose::yes, false, ctx.compute);
}

Tensor LmHead::logits(ExecContext& ctx, const Tensor& h_TD) {
  Tensor logits_TV = ctx.empty_acc({h_TD.dim(0), vocab_size()});
  logits_into(ctx, h_TD, logits_TV);
  return logits_TV;
}

Tensor LmHead::whole_logits(ExecContext& ctx, const Tensor& h_TD) {
  const Tensor part_TV = logits(ctx, h_TD);
  const std::int64_t ranks = ranks_.tp_size(), tokens = part_TV.dim(0), part = part_TV.dim(1);
  if (ranks == 1) return part_TV;
  const Tensor gathered = ctx.empty_acc({ranks * tokens, part});
  ranks_.tp().all_gather(gathered, part_TV, ctx.compute);
  // From rank by rank to token by token.
  std::vector<std::int32_t> order;
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t rank = 0; rank < ranks; ++rank) order.push_back(static_cast<std::int32_t>(rank * tokens + t));
  const Tensor ordered = ctx.empty_acc({ranks * tokens, part});
  ctx.ops.gather_rows(ordered, gathered, rows_of(ctx, order), ctx.compute);
  return ordered.reshaped({tokens, ranks * part});
}

Tensor LmHead::own_columns(ExecContext& ctx, const Tensor& whole_TV) const {
  const std::int64_t ranks = ranks_.tp_size(), tokens = whole_TV.dim(0), part = whole_TV.dim(1) / ranks;
  if (ranks == 1) return whole_TV;
  std::vector<std::int32_t> order;
  for (std::int64_t t = 0; t < tokens; ++t) order.push_back(static_cast<std::int32_t>(t * ranks + ranks_.tp_rank()));
  const Tensor own = ctx.ops.empty({tokens, part}, whole_TV.dtype());
  ctx.ops.gather_rows(own, whole_TV.reshaped({tokens * ranks, part}), rows_of(ctx, order), ctx.compute);
  return own;
}

void LmHead::backward(ExecContext& ctx, const Tensor& dlogits_TV, const Tensor& h_TD, Tensor dh_TD) {
  ctx.ops.gemm(dh_TD, dlogits_TV, Transpose::no, weight_VD_->weight, Transpose::no, false, ctx.compute);
  ctx.ops.gemm(weight_VD_->grad, dlogits_TV, Transpose::yes, h_TD, Transpose::no, true, ctx.compute);
}

std::vector<Parameter*> LmHead::parameters() {
  if (weight_VD_ == &own_) return {&own_};
  return {};
}

}  // namespace athanor
