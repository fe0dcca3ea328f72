// Next-token cross entropy fused with the language-model head.
// T tokens, D model width, V vocabulary.
// Law: [T, V] never exists: rows go through head, softmax and back in chunks. The weights of the loss are known before
// the forward, so the training forward computes the loss, the gradient of the hidden state and the head's dW in one
// pass, and no logit is computed twice (one matrix product in four saved). F therefore holds the head's W;
// backward_input hands out the kept gradient and there is no backward_weight. I + W still equals B.
// Cut over tp by the vocabulary: h is this rank's tokens, everything named _T all T tokens, and every rank of tp has
// the same losses.
#pragma once

#include "src/nn/lm_head.hpp"

namespace athanor {

class TokenCrossEntropy {
 public:
  struct Saved {
    Tensor dh_TD;  ///< from forward to backward_input
  };

  static constexpr std::int64_t kChunkLogits = std::int64_t{1} << 19;

  /// @param head  must outlive this.   @param chunk_logits  about how many logits exist at a time.
  explicit TokenCrossEntropy(LmHead& head, std::int64_t chunk_logits = kChunkLogits);
  /// Rows that go through the head at a time.
  static std::int64_t chunk_rows(std::int64_t vocab_size, std::int64_t chunk_logits = kChunkLogits);

  /// loss_1 (f64) += sum over t of loss_weights_T[t] * losses_T[t]. In training also keeps dh and adds the head's dW.
  /// @returns losses_T (acc): -log p(target) of each token, 0 where its weight is 0.
  Tensor forward(ExecContext& ctx, const Tensor& h_TD, const Tensor& targets_T, const Tensor& loss_weights_T,
                 Tensor loss_1, Saved& saved);
  /// A policy update on ctx.batch (training): sums_8 += by PolicySum. Keeps dh, adds dW.
  void forward_policy(ExecContext& ctx, const Tensor& h_TD, Tensor sums_8, Saved& saved);
  /// Beside the targets a teacher (ctx.batch.teacher, training): loss_1 (f64) += as forward, of the mixed loss. Over tp
  /// every rank sees a chunk's whole rows of both. Keeps dh, adds dW.
  void forward_distillation(ExecContext& ctx, const Tensor& h_TD, Tensor loss_1, Saved& saved);
  /// The gradient of h_TD; the caller's from here on.
  Tensor backward_input(Saved& saved);

 private:
  struct Rows {
    Tensor losses_T, targets_T, loss_weights_T;
  };
  /// What a cut softmax leaves for its gradient.
  struct CutSoftmax {
    Tensor lse_T, local_targets_T;
  };
  /// Logits of a chunk, divided by the temperature.
  Tensor tempered_logits(ExecContext& ctx, const Tensor& h_TD);
  /// losses of a chunk of logits, whole or cut over tp.
  CutSoftmax losses_of(ExecContext& ctx, const Rows& rows, const Tensor& logits_TV);
  /// The logits become their gradient, weighted by rows.loss_weights_T; it goes on to dh_TD and the head's dW.
  void backward_rows(ExecContext& ctx, const Rows& rows, const CutSoftmax& softmax, const Tensor& logits_TV,
                     const Tensor& h_TD, Tensor dh_TD);
  /// The gradient (acc) of this rank's logits goes on to dh_TD and the head's dW.
  void backward_logits(ExecContext& ctx, const Tensor& dlogits_TV, const Tensor& h_TD, Tensor dh_TD);

  LmHead& head_;
  std::int64_t chunk_logits_;
};

}  // namespace athanor
