#include "src/nn/router.hpp"

namespace athanor {
namespace {

Tensor in_acc(ExecContext& ctx, const Tensor& x) {
  if (x.dtype() == ctx.acc()) return x;
  Tensor x_acc = ctx.empty_acc(x.shape());
  ctx.ops.copy(x_acc, x, ctx.compute);
  return x_acc;
}

}  // namespace

Router::Router(Backend& ops, const std::string& prefix, DType acc, const RouterConfig& config, Stream& stream,
               const ParallelRanks& ranks)
    : config_(config),
      ranks_(ranks),
      weight_ED_(prefix + ".weight", "", acc, config.args.num_experts, config.dim, config.init_std),
      bias_E_{whole(prefix + ".bias", acc, {config.args.num_experts}), ops.empty({config.args.num_experts}, acc)} {
  ops.fill(bias_E_.tensor, 0.0, stream);
}

void Router::set_sums(Tensor balance_loss_1, Tensor expert_counts_E) {
  balance_loss_1_ = std::move(balance_loss_1);
  expert_counts_E_ = std::move(expert_counts_E);
}

Routing Router::forward(ExecContext& ctx, const Tensor& x_TD, Saved& saved) {
  const std::int64_t tokens = x_TD.dim(0), num_experts = config_.args.num_experts, top_k = config_.args.top_k;
  const Tensor logits_TE = weight_ED_.forward(ctx, in_acc(ctx, x_TD), saved.weight);
  const Tensor scores_TE = ctx.empty_acc({tokens, num_experts});
  const Routing routing{ctx.ops.empty({tokens, top_k}, DType::i32), ctx.empty_acc({tokens, top_k})};
  ctx.ops.router_forward(scores_TE, routing.expert_ids_TK, routing.weights_TK, logits_TE, bias_E_.tensor, config_.args,
                         ctx.compute);
  if ((ctx.training && !ctx.recomputing) || ctx.counting_experts)
    ctx.ops.count_experts(expert_counts_E_, routing.expert_ids_TK, ctx.compute);
  if (ctx.training) {
    saved.weight.x_TI = Activation(x_TD);
    saved.scores_TE = scores_TE;
    saved.expert_ids_TK = routing.expert_ids_TK;
    if (config_.balance_loss_alpha != 0.0) add_balance_loss(ctx, saved);
  }
  return routing;
}

void Router::add_balance_loss(ExecContext& ctx, Saved& saved) {
  const Tensor scores_KE = ranks_.gather_sequences(ctx, saved.scores_TE);
  const Tensor dscores_KE = ctx.empty_acc(scores_KE.shape());
  Tensor loss_1 = balance_loss_1_;
  if (ctx.recomputing) {
    loss_1 = ctx.empty_acc({1});
    ctx.ops.fill(loss_1, 0.0, ctx.compute);
  }
  ctx.ops.sequence_balance_loss(loss_1, dscores_KE, scores_KE, config_.args.top_k, ctx.batch.tokens_per_sequence,
                                config_.balance_loss_alpha * ctx.batch.balance_weight, 1.0, ctx.compute);
  saved.dscores_TE = ranks_.own_rows(ctx, dscores_KE);
}

void Router::backward_input_into(ExecContext& ctx, const Tensor& dweights_TK, Tensor dx_TD, Saved& saved) {
  const Tensor dlogits_TE = ctx.empty_acc(saved.scores_TE.shape());
  ctx.ops.router_backward(dlogits_TE, dweights_TK, saved.dscores_TE, saved.scores_TE, saved.expert_ids_TK, config_.args,
                          ctx.compute);
  saved.scores_TE = saved.expert_ids_TK = saved.dscores_TE = Tensor{};
  if (dx_TD.dtype() == ctx.acc()) {
    weight_ED_.backward_input_into(ctx, dlogits_TE, dx_TD, true, saved.weight);
  } else {
    const Tensor dx_acc = weight_ED_.backward_input(ctx, dlogits_TE, saved.weight);
    const Tensor dx_rounded = ctx.empty(dx_TD.shape());
    ctx.ops.copy(dx_rounded, dx_acc, ctx.compute);
    ctx.ops.add(dx_TD, dx_TD, dx_rounded, ctx.compute);
  }
}

void Router::backward_weight(ExecContext& ctx, Saved& saved) {
  Activation x_acc(in_acc(ctx, saved.weight.x_TI.numbers(ctx)));
  weight_ED_.backward_weight(ctx, x_acc, saved.weight);
}

}  // namespace athanor
