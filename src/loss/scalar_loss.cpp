#include "src/loss/scalar_loss.hpp"

#include <utility>

#include "src/base/error.hpp"

namespace athanor {

void ScalarLoss::learn_preference(ExecContext& ctx, const Tensor& values_T1, Tensor dvalues_T1, Tensor sums_8) {
  const MicroBatch::PreferenceRows& rows = *ctx.batch.preference;
  ctx.ops.fill(dvalues_T1, 0.0, ctx.compute);
  if (!rows.places_N.defined()) return;
  const std::int64_t answers = rows.places_N.numel();
  const Tensor scores_N1 = ctx.empty_acc({answers, 1}), dscores_N1 = ctx.empty_acc({answers, 1});
  ctx.ops.gather_rows(scores_N1, values_T1, rows.places_N, ctx.compute);
  if (rows.labels_N.defined())
    ctx.ops.pointwise_preference(dscores_N1, sums_8, scores_N1, rows.labels_N, rows.label_weights_N, ctx.compute);
  else
    ctx.ops.pairwise_preference(dscores_N1, sums_8, scores_N1, rows.pairs_P2, rows.pair_margins_P, rows.pair_weights_P,
                                rows.centering, ctx.compute);
  ctx.ops.scatter_rows(dvalues_T1, dscores_N1, rows.places_N, ctx.compute);
}

void ScalarLoss::learn_values(ExecContext& ctx, const Tensor& values_T1, Tensor dvalues_T1, Tensor sums_8) {
  const MicroBatch::ValueRows& rows = *ctx.batch.value;
  ctx.ops.value_regression(dvalues_T1, sums_8, values_T1, rows.old_values_T, rows.returns_T, ctx.batch.loss_weights_T,
                           rows.clip, ctx.compute);
}

void ScalarLoss::forward(ExecContext& ctx, const Tensor& h_TD, Tensor sums_8, Saved& saved) {
  if (!ctx.batch.preference && !ctx.batch.value)
    throw Error("ScalarLoss: wanted a micro-batch with preference or value rows, found neither");
  ValueHead::Saved head;
  const Tensor values_T1 = head_.forward(ctx, h_TD, head);
  const Tensor dvalues_T1 = ctx.empty_acc(values_T1.shape());
  if (ctx.batch.preference)
    learn_preference(ctx, values_T1, dvalues_T1, sums_8);
  else
    learn_values(ctx, values_T1, dvalues_T1, sums_8);
  saved.dh_TD = head_.backward_input(ctx, dvalues_T1, head);
  head_.backward_weight(ctx, head);
}

Tensor ScalarLoss::backward_input(Saved& saved) { return std::exchange(saved.dh_TD, Tensor{}); }

}  // namespace athanor
