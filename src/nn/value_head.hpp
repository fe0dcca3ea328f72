// Scalar head: values_T1 = h_TD * w_1D^T + b_1, one number a token, in place of the unembedding. Source: InstructGPT
// (arXiv 2203.02155), section 3.5.
// T tokens, D model width.
// Laws
//  * Weight, bias and values are in the accumulation type whatever the compute type: rewards differ by less than bf16
//    tells apart.
//  * Over tp every rank computes the values of its own rows and gets all of them; the gradients of weight and bias are
//    those of its own rows, added up over tp (GradientGroup::whole).
//  * A new weight is drawn with variance 1/(D+1), so that scores begin around 0 with variance 1; the bias is 0. Source:
//    Stiennon et al. 2020 (arXiv 2009.01325), appendix B.1.
#pragma once

#include <vector>

#include "src/nn/linear.hpp"

namespace athanor {

class ValueHead {
 public:
  struct Saved {
    Linear::Saved linear;
  };

  /// Parameters "value_head.weight" [1, D] and "value_head.bias" [1]. @param dtype  the compute type.
  ValueHead(DType dtype, std::int64_t dim, const ParallelRanks& ranks = {});

  /// @param h_TD  this rank's rows [T/tp, D], compute type.   @returns values_T1 (acc) of all T tokens. Collective over
  /// tp.
  Tensor forward(ExecContext& ctx, const Tensor& h_TD, Saved& saved);
  /// @param dvalues_T1  acc, of all T tokens, the same on every rank of tp.   @returns dh_TD of this rank's rows.
  Tensor backward_input(ExecContext& ctx, const Tensor& dvalues_T1, Saved& saved);
  void backward_weight(ExecContext& ctx, Saved& saved);
  std::vector<Parameter*> parameters() { return linear_.parameters(); }

 private:
  Linear linear_;
  ParallelRanks ranks_;
};

static_assert(Layer<ValueHead>);

}  // namespace athanor
