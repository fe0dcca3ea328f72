#include "src/nn/embedding.hpp"

namespace athanor {

Embedding::Embedding(std::string weight_name, DType dtype, std::int64_t vocab_size, std::int64_t dim, double init_std,
                     const ParallelRanks& ranks)
    : weight_VD_(matrix_parameter(std::move(weight_name), dtype, {vocab_size, dim}, init_std)), ranks_(ranks) {
  ranks.cut(weight_VD_, 0);
}

Tensor Embedding::forward(ExecContext& ctx, const Tensor& tokens_T, Saved& saved) {
  const StreamSpan span = layer_span(ctx, "embedding", {});
  Tensor ids_T = tokens_T;
  if (!weight_VD_.spec.is_whole()) {
    ids_T = ctx.ops.empty(tokens_T.shape(), DType::i32);
    ctx.ops.local_ids(ids_T, tokens_T, weight_VD_.spec.offset[0], weight_VD_.spec.extent[0], ctx.compute);
  }
  Tensor x_TD = ctx.empty({ids_T.dim(0), weight_VD_.spec.extent[1]});
  ctx.ops.gather_rows(x_TD, weight_VD_.weight, ids_T, ctx.compute);
  if (ctx.training) saved.tokens_T = ids_T;
  return ranks_.sum_scatter(ctx, x_TD);
}

Tensor Embedding::backward_input(ExecContext& ctx, const Tensor& dy_TD, Saved& saved) {
  saved.dy_TD = ranks_.gather(ctx, dy_TD);
  return {};
}

void Embedding::backward_weight(ExecContext& ctx, Saved& saved) {
  const StreamSpan span = layer_span(ctx, "embedding gradient", {});
  ctx.ops.scatter_add_rows(weight_VD_.grad, saved.dy_TD, saved.tokens_T, ctx.compute);
  saved = Saved{};
}

}  // namespace athanor
