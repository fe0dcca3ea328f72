// What a scalar head learns from: preferences between answers, labels of answers, or values of tokens, as the
// micro-batch says (MicroBatch::PreferenceRows, ValueRows).
// T tokens, D model width, N answers.
// Law: as with the head of tokens (token_cross_entropy.hpp) the training forward computes the loss, the gradient of the
// hidden state and the head's dW; backward_input hands out the kept gradient and there is no backward_weight. Over tp
// every rank sees all values and computes the same loss. An answer's score is the value at its last token.
#pragma once

#include "src/nn/value_head.hpp"

namespace athanor {

class ScalarLoss {
 public:
  struct Saved {
    Tensor dh_TD;  ///< from forward to backward_input
  };

  /// @param head  must outlive this.
  explicit ScalarLoss(ValueHead& head) : head_(head) {}

  /// sums_8 (f64) += by PreferenceSum or ValueSum; keeps dh, adds the head's gradient. h is this rank's rows.
  /// Collective over tp. @throws Error when the micro-batch has neither preferences nor values.
  void forward(ExecContext& ctx, const Tensor& h_TD, Tensor sums_8, Saved& saved);
  /// The gradient of h_TD; the caller's from here on.
  Tensor backward_input(Saved& saved);

 private:
  /// dvalues_T1, all of it.
  static void learn_preference(ExecContext& ctx, const Tensor& values_T1, Tensor dvalues_T1, Tensor sums_8);
  static void learn_values(ExecContext& ctx, const Tensor& values_T1, Tensor dvalues_T1, Tensor sums_8);

  ValueHead& head_;
};

}  // namespace athanor
