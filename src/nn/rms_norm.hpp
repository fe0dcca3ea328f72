// Root-mean-square norm y = x / sqrt(mean(x^2) + eps) * w over the last dim (Zhang & Sennrich 2019). Law: statistics in
// the accumulation type; keeps x and one rstd a row.
#pragma once

#include <string>
#include <vector>

#include "src/nn/exec_context.hpp"

namespace athanor {

class RmsNorm {
 public:
  struct Saved {
    Tensor x_TD;    ///< from forward to backward_weight
    Tensor rstd_T;  ///< acc
    Tensor dy_TD;   ///< from backward_input to backward_weight
  };

  RmsNorm(std::string weight_name, DType dtype, std::int64_t size, double eps);

  Tensor forward(ExecContext& ctx, const Tensor& x_TD, Saved& saved);
  Tensor backward_input(ExecContext& ctx, const Tensor& dy_TD, Saved& saved);
  /// dx = dresidual (optional) + the gradient of the norm: the residual stream's sum costs no pass of its own.
  Tensor backward_input(ExecContext& ctx, const Tensor& dy_TD, const Tensor& dresidual_TD, Saved& saved);
  void backward_weight(ExecContext& ctx, Saved& saved);
  std::vector<Parameter*> parameters() { return {&weight_D_}; }

 private:
  Parameter weight_D_;
  double eps_;
};

static_assert(Layer<RmsNorm>);

}  // namespace athanor
