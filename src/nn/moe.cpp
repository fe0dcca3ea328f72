#include "src/nn/moe.hpp"

#include <utility>

#include "src/nn/parameter_list.hpp"

namespace athanor {

Moe::Moe(Backend& ops, const std::string& prefix, DType dtype, const MoeConfig& config, ExpertDispatcher& dispatcher,
         Stream& stream, const ParallelRanks& ranks)
    : router_(ops, prefix + ".router", accumulation_dtype(dtype), config.router, stream, ranks),
      experts_(prefix + ".experts", dtype, config.router.args.num_experts, dispatcher.local_experts(), config.dim,
               config.moe_inter_dim, config.init_std),
      dispatcher_(dispatcher) {
  if (config.num_shared_experts > 0)
    shared_.emplace(prefix + ".shared", dtype, config.dim, config.num_shared_experts * config.moe_inter_dim,
                    config.init_std, ranks);
}

void Moe::dispatch(ExecContext& ctx, const Tensor& x_TD, Saved& saved) {
  saved.routing = router_.forward(ctx, x_TD, saved.router);
  saved.handle.fp8 = fp8_dispatch_;
  dispatcher_.start_dispatch(ctx, x_TD, saved.routing, saved.handle);
  if (shared_) {  // while rows travel
    const StreamSpan span = layer_span(ctx, "shared expert inner", {});
    shared_->forward_inner(ctx, x_TD, saved.shared);
  }
  saved.x_RD = dispatcher_.finish_dispatch(ctx, x_TD, saved.routing, saved.handle);
}

void Moe::experts(ExecContext& ctx, Saved& saved) {
  saved.y_RD = experts_.forward(ctx, std::exchange(saved.x_RD, {}), saved.handle.offsets_E1, saved.experts);
}

Tensor Moe::combine(ExecContext& ctx, Saved& saved) {
  Tensor y_TD = ctx.empty({saved.handle.tokens, saved.y_RD.dim(1)});
  dispatcher_.start_combine(ctx, saved.y_RD, saved.routing, saved.handle);
  if (shared_) {  // while results travel
    const StreamSpan span = layer_span(ctx, "shared expert outer", {});
    shared_->forward_outer(ctx, y_TD, false, saved.shared);
  }
  dispatcher_.finish_combine(ctx, y_TD, shared_.has_value(), saved.routing, saved.handle);
  if (!ctx.training) {
    saved.y_RD = Tensor{};
    saved.routing = Routing{};
    saved.handle.release();
  }
  return y_TD;
}

void Moe::combine_backward(ExecContext& ctx, const Tensor& dy_TD, Saved& saved) {
  dispatcher_.start_combine_backward(ctx, dy_TD, saved.handle);
  if (shared_) {  // while rows travel
    const StreamSpan span = layer_span(ctx, "shared expert outer backward", {});
    shared_->backward_outer(ctx, dy_TD, saved.shared);
  }
  ExpertDispatcher::RowGradients gradients =
      dispatcher_.finish_combine_backward(ctx, dy_TD, saved.y_RD, saved.routing, saved.handle);
  saved.dy_RD = std::move(gradients.dy_RD);
  saved.dweights_CK = std::move(gradients.dweights_CK);
  saved.y_RD = Tensor{};
  saved.routing = Routing{};
}

void Moe::experts_backward(ExecContext& ctx, Saved& saved) {
  saved.dx_RD = experts_.backward_input(ctx, std::exchange(saved.dy_RD, {}), saved.experts);
}

Tensor Moe::dispatch_backward(ExecContext& ctx, Saved& saved) {
  Tensor dx_TD = ctx.empty({saved.handle.tokens, saved.dx_RD.dim(1)});
  dispatcher_.start_dispatch_backward(ctx, std::exchange(saved.dx_RD, {}), std::exchange(saved.dweights_CK, {}),
                                      saved.handle);
  if (shared_) {  // while gradients travel
    const StreamSpan span = layer_span(ctx, "shared expert inner backward", {});
    shared_->backward_inner(ctx, dx_TD, false, saved.shared);
  }
  if (ctx.weights_at_once) add_expert_weight_gradients(ctx, saved);
  const Tensor dweights_TK = dispatcher_.finish_dispatch_backward(ctx, dx_TD, shared_.has_value(), saved.handle);
  saved.handle.release();
  router_.backward_input_into(ctx, dweights_TK, dx_TD, saved.router);
  return dx_TD;
}

void Moe::add_expert_weight_gradients(ExecContext& ctx, Saved& saved) {
  const StreamSpan span = layer_span(ctx, "expert weight gradients", {});
  experts_.backward_weight(ctx, saved.experts);
  if (shared_) shared_->backward_weight(ctx, saved.shared);
  saved.has_expert_weight_gradients = true;
}

Tensor Moe::forward(ExecContext& ctx, const Tensor& x_TD, Saved& saved) {
  dispatch(ctx, x_TD, saved);
  experts(ctx, saved);
  return combine(ctx, saved);
}

Tensor Moe::backward_input(ExecContext& ctx, const Tensor& dy_TD, Saved& saved) {
  combine_backward(ctx, dy_TD, saved);
  experts_backward(ctx, saved);
  return dispatch_backward(ctx, saved);
}

void Moe::backward_weight(ExecContext& ctx, Saved& saved) {
  router_.backward_weight(ctx, saved.router);
  if (!saved.has_expert_weight_gradients) add_expert_weight_gradients(ctx, saved);
  saved.has_expert_weight_gradients = false;
}

void Moe::use_fp8(KeptInputs inputs, bool dispatch) {
  fp8_dispatch_ = dispatch;
  experts_.use_fp8(inputs);
  if (shared_) shared_->use_fp8(inputs);
}

std::vector<Parameter*> Moe::parameters() { return parameters_of(router_, experts_, shared_); }

}  // namespace athanor
