// The four journeys of a dispatcher, each started and finished with nothing between.
#pragma once

#include <utility>

#include "src/nn/expert_dispatcher.hpp"

namespace athanor::testing {

/// @returns the rows' numbers.
inline Tensor dispatch(ExpertDispatcher& dispatcher, ExecContext& ctx, const Tensor& x_TD, const Routing& routing,
                       DispatchHandle& handle) {
  dispatcher.start_dispatch(ctx, x_TD, routing, handle);
  return dispatcher.finish_dispatch(ctx, x_TD, routing, handle).numbers(ctx);
}

/// @param add_to  what the results are added to, in place; undefined: nothing.
inline Tensor combine(ExpertDispatcher& dispatcher, ExecContext& ctx, const Tensor& y_RD, const Routing& routing,
                      const DispatchHandle& handle, const Tensor& add_to = {}) {
  Tensor y_TD = add_to.defined() ? add_to : ctx.ops.empty({handle.tokens, y_RD.dim(1)}, y_RD.dtype());
  dispatcher.start_combine(ctx, y_RD, routing, handle);
  dispatcher.finish_combine(ctx, y_TD, add_to.defined(), routing, handle);
  return y_TD;
}

struct RowNumbers {
  Tensor dy_RD, dweights_CK;
};
inline RowNumbers combine_backward(ExpertDispatcher& dispatcher, ExecContext& ctx, const Tensor& dy_TD,
                                   const Tensor& y_RD, const Routing& routing, const DispatchHandle& handle) {
  dispatcher.start_combine_backward(ctx, dy_TD, handle);
  const auto gradients = dispatcher.finish_combine_backward(ctx, dy_TD, y_RD, routing, handle);
  return {gradients.dy_RD.numbers(ctx), gradients.dweights_CK};
}

struct TokenGradients {
  Tensor dx_TD, dweights_TK;
};
/// @param add_to  as combine's.
inline TokenGradients dispatch_backward(ExpertDispatcher& dispatcher, ExecContext& ctx, const Tensor& dx_RD,
                                        const Tensor& dweights_CK, const DispatchHandle& handle,
                                        const Tensor& add_to = {}) {
  TokenGradients home{add_to.defined() ? add_to : ctx.ops.empty({handle.tokens, dx_RD.dim(1)}, dx_RD.dtype()), {}};
  dispatcher.start_dispatch_backward(ctx, dx_RD, dweights_CK, handle);
  home.dweights_TK = dispatcher.finish_dispatch_backward(ctx, home.dx_TD, add_to.defined(), handle);
  return home;
}

}  // namespace athanor::testing
