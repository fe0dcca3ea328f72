#include "src/nn/lm_head.hpp"

namespace athanor {

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

void LmHead::backward(ExecContext& ctx, const Tensor& dlogits_TV, const Tensor& h_TD, Tensor dh_TD) {
  ctx.ops.gemm(dh_TD, dlogits_TV, Transpose::no, weight_VD_->weight, Transpose::no, false, ctx.compute);
  ctx.ops.gemm(weight_VD_->grad, dlogits_TV, Transpose::yes, h_TD, Transpose::no, true, ctx.compute);
}

std::vector<Parameter*> LmHead::parameters() {
  if (weight_VD_ == &own_) return {&own_};
  return {};
}

}  // namespace athanor
