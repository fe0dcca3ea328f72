#include "src/nn/embedding.hpp"

namespace athanor {

Embedding::Embedding(std::string weight_name, DType dtype, std::int64_t vocab_size, std::int64_t dim, double init_std)
    : weight_VD_(matrix_parameter(std::move(weight_name), dtype, {vocab_size, dim}, init_std)) {}

Tensor Embedding::forward(ExecContext& ctx, const Tensor& tokens_T, Saved& saved) {
  Tensor x_TD = ctx.empty({tokens_T.dim(0), weight_VD_.spec.extent[1]});
  ctx.ops.gather_rows(x_TD, weight_VD_.weight, tokens_T, ctx.compute);
  if (ctx.training) saved.tokens_T = tokens_T;
  return x_TD;
}

Tensor Embedding::backward_input(ExecContext&, const Tensor& dy_TD, Saved& saved) {
  saved.dy_TD = dy_TD;
  return {};
}

void Embedding::backward_weight(ExecContext& ctx, Saved& saved) {
  ctx.ops.scatter_add_rows(weight_VD_.grad, saved.dy_TD, saved.tokens_T, ctx.compute);
  saved = Saved{};
}

}  // namespace athanor
