// Linear map y_TO = x_TI * w_OI^T (+ b_O). Law: the weight is stored [out, in]; x and dy are kept for backward_weight
// by reference, so that several linears of one input share it. In FP8 all three products take E4M3 operands: x and dy
// in 1 x 128 tiles, along the tokens for the weight's gradient, w in 128 x 128 blocks (DeepSeek-V3 report, section
// 3.3); x in FP8 is made once for all maps of an Activation, and is all that is kept of it where that was asked for.
// Results, biases and gradients stay what they are.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "src/nn/activation.hpp"
#include "src/nn/fp8_weights.hpp"
#include "src/nn/parallel_ranks.hpp"

namespace athanor {

class Linear {
 public:
  struct Saved {
    Activation x_TI;  ///< from forward to backward_weight
    Tensor dy_TO;     ///< from backward_input to backward_weight
  };

  /// @param bias_name  canonical name of the bias; empty: no bias.
  Linear(std::string weight_name, std::string bias_name, DType dtype, std::int64_t out_features,
         std::int64_t in_features, double init_std);

  /// Keeps this rank's outputs: y is its columns of the whole y. Before the parameters get memory.
  void cut_outputs(const ParallelRanks& ranks);
  /// Keeps this rank's inputs: y is its part of a sum over ranks. There must be no bias.
  void cut_inputs(const ParallelRanks& ranks);

  /// Multiplies in FP8 from now on. After the cuts. @throws ConfigError when a side is no multiple of 16.
  void use_fp8(KeptInputs inputs = KeptInputs::numbers);

  Tensor forward(ExecContext& ctx, const Tensor& x_TI, Saved& saved);
  /// Of an input that other maps, of the same use_fp8, read too.
  Tensor forward(ExecContext& ctx, Activation& x_TI, Saved& saved);
  /// y = (or +=, when `accumulate`) the map of x.
  void forward_into(ExecContext& ctx, Activation& x_TI, Tensor y_TO, bool accumulate, Saved& saved);

  Tensor backward_input(ExecContext& ctx, const Tensor& dy_TO, Saved& saved);
  /// dx = (or +=, when `accumulate`) the gradient: how several linears of one input sum theirs.
  void backward_input_into(ExecContext& ctx, const Tensor& dy_TO, Tensor dx_TI, bool accumulate, Saved& saved);

  void backward_weight(ExecContext& ctx, Saved& saved);
  /// x_TI: saved.x_TI, of this map or of another of the same input.
  void backward_weight(ExecContext& ctx, Activation& x_TI, Saved& saved);
  std::vector<Parameter*> parameters();
  KeptInputs kept_inputs() const { return kept_inputs_; }

  const Parameter& weight() const { return weight_OI_; }
  std::int64_t out_features() const { return weight_OI_.spec.extent[0]; }
  std::int64_t in_features() const { return weight_OI_.spec.extent[1]; }

 private:
  Parameter weight_OI_;
  Parameter bias_O_;
  bool has_bias_;
  std::optional<Fp8Weights> fp8_;
  KeptInputs kept_inputs_ = KeptInputs::numbers;
};

static_assert(Layer<Linear>);

}  // namespace athanor
