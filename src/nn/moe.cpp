#include "src/nn/moe.hpp"

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
  dispatcher_.start_dispatch(ctx, x_TD, saved.routing, saved.handle);
  if (shared_) {  // while rows travel
    const StreamSpan span = layer_span(ctx, "shared expert", {});
    shared_->forward_inner(ctx, x_TD, saved.shared);
  }
  saved.x_RD = dispatcher_.finish_dispatch(ctx, x_TD, saved.routing, saved.handle);
}

void Moe::experts(ExecContext& ctx, Saved& saved) {
  saved.y_RD = experts_.forward(ctx, saved.x_RD, saved.handle.offsets_E1, saved.experts);
  saved.x_RD = Tensor{};
}

Tensor Moe::combine(ExecContext& ctx, Saved& saved) {
  Tensor y_TD = dispatcher_.combine(ctx, saved.y_RD, saved.routing, saved.handle);
  if (shared_) shared_->forward_outer(ctx, y_TD, true, saved.shared);
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
    const StreamSpan span = layer_span(ctx, "shared expert backward", {});
    shared_->backward_outer(ctx, dy_TD, saved.shared);
  }
  saved.dweights_TK = ctx.empty_acc(saved.routing.weights_TK.shape());
  saved.dy_RD =
      dispatcher_.finish_combine_backward(ctx, dy_TD, saved.y_RD, saved.routing, saved.handle, saved.dweights_TK);
  saved.y_RD = Tensor{};
  saved.routing = Routing{};
}

void Moe::experts_backward(ExecContext& ctx, Saved& saved) {
  saved.dx_RD = experts_.backward_input(ctx, saved.dy_RD, saved.experts);
  saved.dy_RD = Tensor{};
}

Tensor Moe::dispatch_backward(ExecContext& ctx, Saved& saved) {
  Tensor dx_TD = dispatcher_.dispatch_backward(ctx, saved.dx_RD, saved.handle);
  saved.dx_RD = Tensor{};
  saved.handle.release();
  if (shared_) shared_->backward_inner(ctx, dx_TD, true, saved.shared);
  router_.backward_input_into(ctx, saved.dweights_TK, dx_TD, saved.router);
  saved.dweights_TK = Tensor{};
  return dx_TD;
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
  experts_.backward_weight(ctx, saved.experts);
  if (shared_) shared_->backward_weight(ctx, saved.shared);
}

void Moe::use_fp8(KeptInputs inputs) {
  experts_.use_fp8(inputs);
  if (shared_) shared_->use_fp8(inputs);
}

std::vector<Parameter*> Moe::parameters() { return parameters_of(router_, experts_, shared_); }

}  // namespace athanor
