// Gated feed-forward network y = w_down( silu(w_gate x) * (w_up x) ) (Shazeer 2020). Law: forward and backward are cut
// at the hidden activation, so that a mixture of experts can run the inner half while rows travel, and add the outer
// half to a sum for free. forward = forward_inner + forward_outer; backward_input = backward_outer + backward_inner.
// Cut over tp by columns of the hidden activation: x and y are this rank's tokens, gate, up and hidden all tokens. Of
// the input this rank's tokens are kept; backward_inner gathers it again, so that backward_weight has no messages.
// Where inputs are kept in FP8, so are gate and up (DeepSeek-V3 report, section 3.3.3); forward reads them before.
#pragma once

#include <string>
#include <vector>

#include "src/nn/linear.hpp"

namespace athanor {

class SwiGlu {
 public:
  struct Saved {
    Linear::Saved w_gate, w_up, w_down;
    Activation gate_TF, up_TF;  ///< from forward_inner to backward_outer
    Tensor hidden_TF;           ///< from forward_inner to forward_outer
    Tensor dgate_TF, dup_TF;    ///< from backward_outer to backward_inner
  };

  /// Parameters prefix + ".w_gate" [F,D], ".w_up" [F,D], ".w_down" [D,F].
  SwiGlu(const std::string& prefix, DType dtype, std::int64_t dim, std::int64_t inter_dim, double init_std,
         const ParallelRanks& ranks = {});

  Tensor forward(ExecContext& ctx, const Tensor& x_TD, Saved& saved);
  void forward_inner(ExecContext& ctx, const Tensor& x_TD, Saved& saved);
  void forward_outer(ExecContext& ctx, Tensor y_TD, bool accumulate, Saved& saved);

  Tensor backward_input(ExecContext& ctx, const Tensor& dy_TD, Saved& saved);
  void backward_outer(ExecContext& ctx, const Tensor& dy_TD, Saved& saved);
  void backward_inner(ExecContext& ctx, Tensor dx_TD, bool accumulate, Saved& saved);

  void backward_weight(ExecContext& ctx, Saved& saved);
  /// All three linears multiply in FP8 from now on.
  void use_fp8(KeptInputs inputs = KeptInputs::numbers);
  std::vector<Parameter*> parameters();

 private:
  Linear w_gate_, w_up_, w_down_;
  ParallelRanks ranks_;
};

static_assert(Layer<SwiGlu>);

}  // namespace athanor
