// Token embedding x_TD = w_VD[tokens_T]. Law: it has no input gradient; backward_weight adds the rows of dy to the
// gradient of the tokens seen. With a tied head the same parameter also receives the head's gradient.
#pragma once

#include <string>
#include <vector>

#include "src/nn/exec_context.hpp"

namespace athanor {

class Embedding {
 public:
  struct Saved {
    Tensor tokens_T;  ///< from forward to backward_weight
    Tensor dy_TD;     ///< from backward_input to backward_weight
  };

  Embedding(std::string weight_name, DType dtype, std::int64_t vocab_size, std::int64_t dim, double init_std);

  Tensor forward(ExecContext& ctx, const Tensor& tokens_T, Saved& saved);
  /// Keeps dy for backward_weight. @returns no tensor: token ids have no gradient.
  Tensor backward_input(ExecContext& ctx, const Tensor& dy_TD, Saved& saved);
  void backward_weight(ExecContext& ctx, Saved& saved);
  std::vector<Parameter*> parameters() { return {&weight_VD_}; }
  Parameter& weight() { return weight_VD_; }

 private:
  Parameter weight_VD_;
};

static_assert(Layer<Embedding>);

}  // namespace athanor
