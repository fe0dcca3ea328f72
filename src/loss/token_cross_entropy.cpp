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

Tensor TokenCrossEntropy::tempered_logits(ExecContext& ctx, const Tensor& h_TD) {
  const Tensor logits_TV = head_.logits(ctx, h_TD);
  if (ctx.batch.temperature != 1.0) ctx.ops.scale(logits_TV, 1.0 / ctx.batch.temperature, ctx.compute);
  return logits_TV;
}

TokenCrossEntropy::CutSoftmax TokenCrossEntropy::losses_of(ExecContext& ctx, const Rows& rows,
                                                           const Tensor& logits_TV) {
  if (head_.ranks().tp_size() == 1) {
    ctx.ops.cross_entropy(rows.losses_T, Tensor{}, logits_TV, rows.targets_T, rows.loss_weights_T, ctx.compute);
    return {};
  }
  const std::int64_t tokens = logits_TV.dim(0);
  Communicator& tp = head_.ranks().tp();
  const CutSoftmax softmax{ctx.empty_acc({tokens}), ctx.ops.empty({tokens}, DType::i32)};
  ctx.ops.local_ids(softmax.local_targets_T, rows.targets_T, head_.first_token(), head_.vocab_size(), ctx.compute);
  const Tensor part_T2 = ctx.empty_acc({tokens, 2}), parts_PT2 = ctx.empty_acc({tp.size() * tokens, 2});
  ctx.ops.cross_entropy_part(part_T2, logits_TV, softmax.local_targets_T, ctx.compute);
  tp.all_gather(parts_PT2, part_T2, ctx.compute);
  ctx.ops.cross_entropy_merge(rows.losses_T, softmax.lse_T, parts_PT2, rows.loss_weights_T, ctx.compute);
  return softmax;
}

void TokenCrossEntropy::backward_rows(ExecContext& ctx, const Rows& rows, const CutSoftmax& softmax,
                                      const Tensor& logits_TV, const Tensor& h_TD, Tensor dh_TD) {
  if (softmax.lse_T.defined())
    ctx.ops.cross_entropy_part_backward(logits_TV, logits_TV, softmax.lse_T, softmax.local_targets_T,
                                        rows.loss_weights_T, ctx.compute);
  else
    ctx.ops.cross_entropy(rows.losses_T, logits_TV, logits_TV, rows.targets_T, rows.loss_weights_T, ctx.compute);
  if (ctx.batch.temperature != 1.0) ctx.ops.scale(logits_TV, 1.0 / ctx.batch.temperature, ctx.compute);
  backward_logits(ctx, logits_TV, h_TD, dh_TD);
}

void TokenCrossEntropy::backward_logits(ExecContext& ctx, const Tensor& dlogits_TV, const Tensor& h_TD, Tensor dh_TD) {
  Tensor typed_TV = dlogits_TV;
  if (typed_TV.dtype() != ctx.dtype) {  // bf16: the products of the backward take the compute type
    typed_TV = ctx.empty(dlogits_TV.shape());
    ctx.ops.copy(typed_TV, dlogits_TV, ctx.compute);
  }
  head_.backward(ctx, typed_TV, h_TD, dh_TD);
}

Tensor TokenCrossEntropy::forward(ExecContext& ctx, const Tensor& h_TD, const Tensor& targets_T,
                                  const Tensor& loss_weights_T, Tensor loss_1, Saved& saved) {
  const StreamSpan span = layer_span(ctx, "head and loss", {});
  const ParallelRanks& ranks = head_.ranks();
  const Tensor all_TD = ranks.gather(ctx, h_TD);
  const std::int64_t tokens = all_TD.dim(0), rows_at_once = chunk_rows(head_.vocab_size(), chunk_logits_);
  const Tensor losses_T = ctx.empty_acc({tokens});
  if (ctx.training) saved.dh_TD = ctx.empty(all_TD.shape());
  for (std::int64_t begin = 0; begin < tokens; begin += rows_at_once) {
    const std::int64_t end = std::min(begin + rows_at_once, tokens);
    const Tensor h_chunk = all_TD.rows(begin, end), logits = tempered_logits(ctx, h_chunk);
    const Rows rows{losses_T.rows(begin, end), targets_T.rows(begin, end), loss_weights_T.rows(begin, end)};
    CutSoftmax softmax;
    if (!ctx.training || ranks.tp_size() > 1) softmax = losses_of(ctx, rows, logits);  // else one pass does both
    if (ctx.training) backward_rows(ctx, rows, softmax, logits, h_chunk, saved.dh_TD.rows(begin, end));
  }
  if (ctx.training) saved.dh_TD = ranks.sum_scatter(ctx, saved.dh_TD);
  if (ctx.recomputing) return losses_T;
  ctx.ops.weighted_sum(loss_1, losses_T, loss_weights_T, ctx.compute);
  return losses_T;
}

void TokenCrossEntropy::forward_policy(ExecContext& ctx, const Tensor& h_TD, Tensor sums_8, Saved& saved) {
  const StreamSpan span = layer_span(ctx, "head and policy loss", {});
  const MicroBatch& batch = ctx.batch;
  const MicroBatch::PolicyRows& policy = *batch.policy;
  const ParallelRanks& ranks = head_.ranks();
  const Tensor all_TD = ranks.gather(ctx, h_TD);
  const std::int64_t tokens = all_TD.dim(0), rows_at_once = chunk_rows(head_.vocab_size(), chunk_logits_);
  const Tensor losses_T = ctx.empty_acc({tokens}), weights_T = ctx.empty_acc({tokens});
  saved.dh_TD = ctx.empty(all_TD.shape());
  const auto weigh = [&](std::int64_t begin, std::int64_t end) {
    const auto part = [&](const Tensor& tensor) { return tensor.defined() ? tensor.rows(begin, end) : tensor; };
    ctx.ops.policy_gradient(weights_T.rows(begin, end), sums_8, losses_T.rows(begin, end), part(policy.old_logprobs_T),
                            part(policy.ref_logprobs_T), part(policy.advantages_T), part(batch.loss_weights_T),
                            part(policy.sequence_ids_T), policy.args, ctx.compute);
  };
  // A ratio of whole sequences needs all log-probabilities first: the head is run twice then.
  const bool whole_first = policy.args.objective == PolicyObjective::gspo;
  for (int pass = whole_first ? 0 : 1; pass < 2; ++pass) {
    for (std::int64_t begin = 0; begin < tokens; begin += rows_at_once) {
      const std::int64_t end = std::min(begin + rows_at_once, tokens);
      const Tensor h_chunk = all_TD.rows(begin, end), logits = tempered_logits(ctx, h_chunk);
      Rows rows{losses_T.rows(begin, end), batch.targets_T.rows(begin, end), batch.loss_weights_T.rows(begin, end)};
      const CutSoftmax softmax = losses_of(ctx, rows, logits);
      if (pass == 0) continue;
      if (!whole_first) weigh(begin, end);
      rows.loss_weights_T = weights_T.rows(begin, end);
      rows.losses_T = ctx.empty_acc({end - begin});  // what the gradient's pass would write over
      backward_rows(ctx, rows, softmax, logits, h_chunk, saved.dh_TD.rows(begin, end));
    }
    if (pass == 0) weigh(0, tokens);
  }
  saved.dh_TD = ranks.sum_scatter(ctx, saved.dh_TD);
}

void TokenCrossEntropy::forward_distillation(ExecContext& ctx, const Tensor& h_TD, Tensor loss_1, Saved& saved) {
  const StreamSpan span = layer_span(ctx, "head and distillation loss", {});
  const MicroBatch& batch = ctx.batch;
  const MicroBatch::TeacherRows& teacher = *batch.teacher;
  const ParallelRanks& ranks = head_.ranks();
  const Tensor all_TD = ranks.gather(ctx, h_TD), teacher_TD = ranks.gather(ctx, teacher.hidden_TD);
  const std::int64_t tokens = all_TD.dim(0),
                     rows_at_once = chunk_rows(head_.vocab_size() * ranks.tp_size(), chunk_logits_);
  const Tensor hard_T = ctx.empty_acc({tokens}), soft_T = ctx.empty_acc({tokens});
  const double hard_weight = teacher.hard_weight;
  const double soft_weight = (1.0 - hard_weight) * teacher.temperature * teacher.temperature;
  saved.dh_TD = ctx.empty(all_TD.shape());
  for (std::int64_t begin = 0; begin < tokens; begin += rows_at_once) {
    const std::int64_t end = std::min(begin + rows_at_once, tokens);
    const Tensor h_chunk = all_TD.rows(begin, end), logits = head_.whole_logits(ctx, h_chunk);
    const Tensor weights_T = batch.loss_weights_T.rows(begin, end);
    const Tensor teacher_logits = (*teacher.logits)(ctx, teacher_TD.rows(begin, end));
    const Tensor soft = ctx.ops.empty(logits.shape(), logits.dtype());
    ctx.ops.copy(soft, logits, ctx.compute);
    if (teacher.temperature != 1.0)
      for (const Tensor& side : {soft, teacher_logits}) ctx.ops.scale(side, 1.0 / teacher.temperature, ctx.compute);
    ctx.ops.distillation(soft_T.rows(begin, end), soft, soft, teacher_logits, weights_T, teacher.reverse, ctx.compute);
    ctx.ops.cross_entropy(hard_T.rows(begin, end), logits, logits, batch.targets_T.rows(begin, end), weights_T,
                          ctx.compute);
    ctx.ops.scale(logits, hard_weight, ctx.compute);
    ctx.ops.scale(soft, soft_weight / teacher.temperature, ctx.compute);  // by the logits before they were cooled
    ctx.ops.add(logits, logits, soft, ctx.compute);
    backward_logits(ctx, head_.own_columns(ctx, logits), h_chunk, saved.dh_TD.rows(begin, end));
  }
  saved.dh_TD = ranks.sum_scatter(ctx, saved.dh_TD);
  ctx.ops.scale(hard_T, hard_weight, ctx.compute);
  ctx.ops.scale(soft_T, soft_weight, ctx.compute);
  ctx.ops.weighted_sum(loss_1, hard_T, batch.loss_weights_T, ctx.compute);
  ctx.ops.weighted_sum(loss_1, soft_T, batch.loss_weights_T, ctx.compute);
}

Tensor TokenCrossEntropy::backward_input(Saved& saved) {
  Tensor dh_TD = saved.dh_TD;
  saved.dh_TD = Tensor{};
  return dh_TD;
}

}  // namespace athanor
