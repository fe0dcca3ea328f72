#include "src/loss/token_cross_entropy.hpp"

#include <algorithm>
#include <utility>

namespace athanor {
namespace {

constexpr std::int64_t kMinChunkRows = 128;  // fewer rows starve the matrix products of a large vocabulary

}  // namespace

TokenCrossEntropy::TokenCrossEntropy(LmHead& head, std::int64_t chunk_logits)
    : head_(head), chunk_logits_(chunk_logits) {}

Tensor TokenCrossEntropy::forward(ExecContext& ctx, const Tensor& h_TD, const Tensor& targets_T,
                                  const Tensor& loss_weights_T, Tensor loss_1, Saved& saved) {
  const std::int64_t tokens = h_TD.dim(0), vocab = head_.vocab_size();
  const std::int64_t chunk_rows = std::max(kMinChunkRows, chunk_logits_ / vocab);
  const Tensor losses_T = ctx.empty_acc({tokens});
  if (ctx.training) saved.dh_TD = ctx.empty(h_TD.shape());
  for (std::int64_t begin = 0; begin < tokens; begin += chunk_rows) {
    const std::int64_t end = std::min(begin + chunk_rows, tokens);
    const Tensor h_chunk = h_TD.rows(begin, end);
    const Tensor logits = head_.logits(ctx, h_chunk);
    Tensor dlogits = ctx.training ? logits : Tensor{};
    ctx.ops.cross_entropy(losses_T.rows(begin, end), dlogits, logits, targets_T.rows(begin, end),
                          loss_weights_T.rows(begin, end), ctx.compute);
    if (!ctx.training) continue;
    if (dlogits.dtype() != ctx.dtype) {  // bf16: the products of the backward take the compute type
      dlogits = ctx.empty(logits.shape());
      ctx.ops.copy(dlogits, logits, ctx.compute);
    }
    head_.backward(ctx, dlogits, h_chunk, saved.dh_TD.rows(begin, end));
  }
  ctx.ops.weighted_sum(loss_1, losses_T, loss_weights_T, ctx.compute);
  return losses_T;
}

Tensor TokenCrossEntropy::backward_input(Saved& saved) {
  Tensor dh_TD = saved.dh_TD;
  saved.dh_TD = Tensor{};
  return dh_TD;
}

}  // namespace athanor
