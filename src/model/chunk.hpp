// What a pipeline schedules: consecutive blocks of the model, with the embedding before or the head and loss after
// them.
#pragma once

#include <vector>

#include "src/nn/exec_context.hpp"

namespace athanor {

/// Sums of one optimizer step, on the device; read once a step.
struct StepSums {
  Tensor loss_1;  ///< f64: main loss, already weighted (mean over the valid tokens of the global batch once summed over
                  ///< ranks)
  Tensor mtp_loss_1;      ///< f64: sum of the weighted MTP losses (lambda included)
  Tensor balance_loss_1;  ///< acc: sequence-wise balance loss summed over layers, averaged over micro-batches by its
                          ///< weight
  Tensor policy_8;        ///< f64, by PolicySum; all zero where no policy is trained
  Tensor scalar_8;  ///< f64, by PreferenceSum or ValueSum: of a scalar head, which has no other loss; else undefined
  std::vector<Tensor> expert_counts_E;  ///< i64, one per MoE layer (MTP modules last)
};

/// Starts a step.
void zero_sums(StepSums& sums, Backend& ops, Stream& stream);

/// F, I and W of consecutive layers for any number of micro-batches in flight. With one pipeline rank a chunk is the
/// model.
class ModelChunk {
 public:
  virtual ~ModelChunk() = default;
  /// F. x: activations of the previous chunk (undefined for the first, which embeds ctx.batch.tokens_T). Returns what
  /// the next chunk takes; the last chunk computes its losses into sums() and returns an undefined tensor.
  virtual Tensor forward(ExecContext& ctx, int micro_batch, const Tensor& x) = 0;
  /// I. dy of the last chunk is undefined (it starts from its loss). Returns dx, undefined for the first chunk.
  virtual Tensor backward_input(ExecContext& ctx, int micro_batch, const Tensor& dy) = 0;
  /// W. Any time after I of the same micro-batch, once.
  virtual void backward_weight(ExecContext& ctx, int micro_batch) = 0;
  /// B: I and W, with the bits of the one after the other. A chunk may go through its layers once, so that what W needs
  /// of a layer is gone before I of the one before.
  virtual Tensor backward(ExecContext& ctx, int micro_batch, Tensor dy) {
    const Tensor dx = backward_input(ctx, micro_batch, dy);
    backward_weight(ctx, micro_batch);
    return dx;
  }

  virtual std::vector<Parameter*> parameters() = 0;
  virtual std::vector<StateTensor*> states() = 0;
  virtual StepSums& sums() = 0;
};

}  // namespace athanor
