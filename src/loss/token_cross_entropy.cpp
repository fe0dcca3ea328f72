#include "src/loss/token_cross_entropy.hpp"

#include <algorithm>
#include <utility>

namespace athanor {
namespace {

constexpr std::int64_t kMinChunkRows = 128;  // fewer rows starve the matrix products of a large vocabulary

}  // namespace

TokenCrossEntropy::TokenCrossEntropy(LmHead& head, std::int64_t chunk_logits)
    : head_(head), chunk_logits_(chunk_logits) {}

std::int64_t TokenCrossEntropy::chunk_rows(std::int64_t vocab_size, std::int64_t chunk_logits) {
  return std::max(kMinChunkRows, chunk_logits / vocab_size);
}

Tensor TokenCrossEntropy::forward(ExecContext& ctx, const Tensor& h_TD, const Tensor& targets_T,
                                  const Tensor& loss_weights_T, Tensor loss_1, Saved& saved) {
  const ParallelRanks& ranks = head_.ranks();
  const Tensor all_TD = ranks.gather(ctx, h_TD);
  const std::int64_t tokens = all_TD.dim(0), rows_at_once = chunk_rows(head_.vocab_size(), chunk_logits_);
  const Tensor losses_T = ctx.empty_acc({tokens});
  if (ctx.training) saved.dh_TD = ctx.empty(all_TD.shape());
  for (std::int64_t begin = 0; begin < tokens; begin += rows_at_once) {
    const std::int64_t end = std::min(begin + rows_at_once, tokens);
    const Tensor h_chunk = all_TD.rows(begin, end);
    const Tensor logits = head_.logits(ctx, h_chunk);
    Tensor dlogits = ctx.training ? logits : Tensor{};
    const Rows rows{losses_T.rows(begin, end), targets_T.rows(begin, end), loss_weights_T.rows(begin, end)};
    if (ranks.tp_size() == 1)
      ctx.ops.cross_entropy(rows.losses_T, dlogits, logits, rows.targets_T, rows.loss_weights_T, ctx.compute);
    else
      cut_cross_entropy(ctx, rows, logits);
    if (!ctx.training) continue;
    if (dlogits.dtype() != ctx.dtype) {  // bf16: the products of the backward take the compute type
      dlogits = ctx.empty(logits.shape());
      ctx.ops.copy(dlogits, logits, ctx.compute);
    }
    head_.backward(ctx, dlogits, h_chunk, saved.dh_TD.rows(begin, end));
  }
  if (ctx.training) saved.dh_TD = ranks.sum_scatter(ctx, saved.dh_TD);
  if (ctx.recomputing) return losses_T;
  ctx.ops.weighted_sum(loss_1, losses_T, loss_weights_T, ctx.compute);
  return losses_T;
}

void TokenCrossEntropy::cut_cross_entropy(ExecContext& ctx, const Rows& rows, const Tensor& logits_TV) {
  const std::int64_t tokens = logits_TV.dim(0);
  Communicator& tp = head_.ranks().tp();
  const Tensor local_targets_T = ctx.ops.empty({tokens}, DType::i32);
  ctx.ops.local_ids(local_targets_T, rows.targets_T, head_.first_token(), head_.vocab_size(), ctx.compute);
  const Tensor part_T2 = ctx.empty_acc({tokens, 2}), parts_PT2 = ctx.empty_acc({tp.size() * tokens, 2});
  ctx.ops.cross_entropy_part(part_T2, logits_TV, local_targets_T, ctx.compute);
  tp.all_gather(parts_PT2, part_T2, ctx.compute);
  const Tensor lse_T = ctx.empty_acc({tokens});
  ctx.ops.cross_entropy_merge(rows.losses_T, lse_T, parts_PT2, rows.loss_weights_T, ctx.compute);
  if (ctx.training)
    ctx.ops.cross_entropy_part_backward(logits_TV, logits_TV, lse_T, local_targets_T, rows.loss_weights_T, ctx.compute);
}

Tensor TokenCrossEntropy::backward_input(Saved& saved) {
  Tensor dh_TD = saved.dh_TD;
  saved.dh_TD = Tensor{};
  return dh_TD;
}

}  // namespace athanor
