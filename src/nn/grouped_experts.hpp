// The routed experts: E SwiGLU networks as three stacks of matrices, applied to rows grouped by expert.
// R rows, D model width, F expert inner width, E experts held here of num_experts in the model. Law: as SwiGlu;
// offsets_E1 says whose row is whose. Names and contents of the matrices do not depend on which rank holds them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "src/nn/activation.hpp"
#include "src/nn/fp8_weights.hpp"

namespace athanor {

class GroupedExperts {
 public:
  struct Saved {
    Activation x_RD, hidden_RF;  ///< from forward to backward_weight
    Activation gate_RF, up_RF;   ///< from forward to backward_input
    Activation dy_RD;            ///< these three from backward_input to backward_weight
    Tensor dgate_RF, dup_RF;
    Tensor offsets_E1;  ///< i32
  };

  /// Parameters prefix + ".w_gate" [E,F,D], ".w_up" [E,F,D], ".w_down" [E,D,F]: those rows of the logical tensors.
  /// @param local_experts  ids of the experts held here (ExpertDispatcher::local_experts).
  GroupedExperts(const std::string& prefix, DType dtype, std::int64_t num_experts,
                 const std::vector<std::int64_t>& local_experts, std::int64_t dim, std::int64_t inter_dim,
                 double init_std);

  /// Multiplies in FP8 from now on, as Linear does; tiles along the tokens begin anew with every expert.
  void use_fp8(KeptInputs inputs = KeptInputs::numbers);

  /// x_RD and dy_RD may come as FP8, which is multiplied and kept as it is.
  Tensor forward(ExecContext& ctx, Activation x_RD, const Tensor& offsets_E1, Saved& saved);
  Tensor backward_input(ExecContext& ctx, Activation dy_RD, Saved& saved);
  void backward_weight(ExecContext& ctx, Saved& saved);
  std::vector<Parameter*> parameters() { return {&w_gate_EFD_, &w_up_EFD_, &w_down_EDF_}; }

 private:
  struct Fp8 {
    Fp8Weights w_gate, w_up, w_down;
  };

  /// y = x through one of the three stacks.
  void multiply(ExecContext& ctx, Tensor y, Activation& x, const Parameter& weight, Fp8Weights Fp8::*form,
                const Tensor& offsets_E1);

  /// dx = (or +=) dy through one of the three stacks.
  void input_gradient(ExecContext& ctx, Tensor dx, Activation& dy, const Parameter& weight, Fp8Weights Fp8::*form,
                      const Tensor& offsets_E1, bool accumulate);
  /// The gradient of one of the three += dy^T x.
  void weight_gradient(ExecContext& ctx, const Parameter& weight, Activation dy, Activation& x,
                       const Tensor& offsets_E1);

  Parameter w_gate_EFD_, w_up_EFD_, w_down_EDF_;
  std::optional<Fp8> fp8_;
  KeptInputs kept_inputs_ = KeptInputs::numbers;
};

}  // namespace athanor
