// Mixture of experts: y = sum over the chosen experts of weight * expert(x), plus the shared expert(s), which are one
// SwiGLU of width num_shared * moe_inter_dim. Source: DeepSeek-V3 report, eq. 12.
// Law: cut in three phases so that a caller can interleave two micro-batches: dispatch (router, rows leave, the shared
// expert's inner half while they travel), experts (rows computed) and combine (rows return, the shared expert's outer
// half meanwhile; then the routed results are added to the shared one's). forward = the three in order; backward runs
// their transposes in reverse, and where weight gradients follow at once (ctx.weights_at_once) those of the experts are
// taken while gradients of rows return. Between phases everything lies in Saved.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "src/nn/expert_dispatcher.hpp"
#include "src/nn/grouped_experts.hpp"
#include "src/nn/router.hpp"
#include "src/nn/swiglu.hpp"

namespace athanor {

struct MoeConfig {
  RouterConfig router;
  std::int64_t dim = 0, moe_inter_dim = 0, num_shared_experts = 0;
  double init_std = 0.006;
};

class Moe {
 public:
  struct Saved {
    Router::Saved router;
    GroupedExperts::Saved experts;
    SwiGlu::Saved shared;
    Routing routing;                           ///< from dispatch to combine_backward
    DispatchHandle handle;                     ///< from dispatch to dispatch_backward
    Activation x_RD;                           ///< from dispatch to experts
    Tensor y_RD;                               ///< from experts to combine_backward
    Activation dy_RD;                          ///< from combine_backward to experts_backward
    Tensor dx_RD;                              ///< from experts_backward to dispatch_backward
    Tensor dweights_CK;                        ///< from combine_backward to dispatch_backward
    bool has_expert_weight_gradients = false;  ///< dispatch_backward has added them
  };

  /// Parameters prefix + ".router.…", ".experts.…", ".shared.…".
  Moe(Backend& ops, const std::string& prefix, DType dtype, const MoeConfig& config, ExpertDispatcher& dispatcher,
      Stream& stream, const ParallelRanks& ranks = {});

  void dispatch(ExecContext& ctx, const Tensor& x_TD, Saved& saved);
  void experts(ExecContext& ctx, Saved& saved);
  Tensor combine(ExecContext& ctx, Saved& saved);

  void combine_backward(ExecContext& ctx, const Tensor& dy_TD, Saved& saved);
  void experts_backward(ExecContext& ctx, Saved& saved);
  Tensor dispatch_backward(ExecContext& ctx, Saved& saved);

  Tensor forward(ExecContext& ctx, const Tensor& x_TD, Saved& saved);
  Tensor backward_input(ExecContext& ctx, const Tensor& dy_TD, Saved& saved);
  void backward_weight(ExecContext& ctx, Saved& saved);
  /// Experts, routed and shared, multiply in FP8 from now on; the router does not.
  /// @param dispatch  what goes to experts, forward and backward, is FP8 before it leaves.
  void use_fp8(KeptInputs inputs = KeptInputs::numbers, bool dispatch = true);
  std::vector<Parameter*> parameters();
  Router& router() { return router_; }

 private:
  void add_expert_weight_gradients(ExecContext& ctx, Saved& saved);

  Router router_;
  GroupedExperts experts_;
  std::optional<SwiGlu> shared_;
  ExpertDispatcher& dispatcher_;
  bool fp8_dispatch_ = false;
};

static_assert(Layer<Moe>);

}  // namespace athanor
