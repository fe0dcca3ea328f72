// What a layer needs to run: the operations, the streams and the rows of this micro-batch.
// Law of every Layer (a concept, not a base class):
//   forward(ctx, x, saved) -> y        fills saved
//   backward_input(ctx, dy, saved) -> dx   frees what backward_weight will not need
//   backward_weight(ctx, saved)        grad += dW; frees the rest; any time after backward_input
//   parameters()                       every Parameter*, in a fixed order
// A layer keeps no tensor between calls but its parameters: one Saved per micro-batch in flight. Calls allocate tensors
// from the back end's arena only, never from the heap.
#pragma once

#include <concepts>
#include <functional>
#include <optional>
#include <vector>

#include "src/backend/backend.hpp"
#include "src/backend/stream_span.hpp"
#include "src/nn/parameter.hpp"
#include "src/nn/recompute.hpp"

namespace athanor {

struct ExecContext;

/// T = num_sequences * tokens_per_sequence / cp tokens on the device, with what the loss needs. Made by the data layer.
struct MicroBatch {
  Tensor tokens_T;        ///< i32
  Tensor positions_T;     ///< i32, restarting at document starts when documents are isolated, else at row starts
  Tensor key_begin_T;     ///< i32, first token (of T) that token t may attend to
  Tensor targets_T;       ///< i32, next token
  Tensor loss_weights_T;  ///< acc; 1/(valid tokens of the global batch), 0 where there is no target
  /// MTP module k = 0..D-1: its input token t_{i+k+1}, target t_{i+k+2} and loss weight (lambda/D/valid tokens, 0 past
  /// the end of the row or document). Empty when D = 0.
  struct MtpRows {
    Tensor tokens_T, targets_T, loss_weights_T;
  };
  std::vector<MtpRows> mtp;
  /// Where the sequences are cut over ranks (cp > 1): the tensors above hold this rank's T of K = T*cp tokens, keys are
  /// counted in the order of the sequences.
  struct ContextOrder {
    Tensor key_end_T;         ///< i32: one past the last key that token t attends to
    Tensor sequence_order_K;  ///< i32: row of the tensor gathered rank by rank that holds token k of the sequences
    Tensor gathered_order_K;  ///< i32: its inverse
  } context;
  std::int64_t num_sequences = 0, tokens_per_sequence = 0;  ///< of whole sequences
  double temperature = 1.0;                                 ///< logits are divided by it before the softmax
  /// A policy update in place of next-token prediction: loss_weights_T are 0 but on completion tokens.
  struct PolicyRows {
    Tensor old_logprobs_T;  ///< acc: of the target, by the policy that sampled it
    Tensor ref_logprobs_T;  ///< acc: by the reference policy; undefined: none
    Tensor advantages_T;    ///< acc
    Tensor sequence_ids_T;  ///< i32; undefined: each token for itself
    PolicyGradientArgs args;
  };
  std::optional<PolicyRows> policy;
  /// A teacher's softmax beside the targets: the loss is hard_weight * cross entropy + (1 - hard_weight) *
  /// temperature^2 * divergence at the temperature (the square keeps gradients as large: Hinton et al. 2015).
  struct TeacherRows {
    Tensor hidden_TD;  ///< behind the teacher's final norm, D its width
    /// Its logits (acc, the whole vocabulary) of some of these rows, gathered over tp; must outlive the step.
    const std::function<Tensor(ExecContext&, const Tensor& h_TD)>* logits = nullptr;
    bool reverse = false;  ///< KL(student || teacher), which seeks the teacher's modes; else KL(teacher || student)
    double temperature = 1.0, hard_weight = 0.0;
  };
  std::optional<TeacherRows> teacher;
  /// A scalar head learns what is preferred: N answers, each scored by the value at one token. Answers that are
  /// compared are in one micro-batch; every tensor undefined: a micro-batch without any. Weights are divided by what
  /// the global batch holds.
  struct PreferenceRows {
    Tensor places_N;         ///< i32: token (of T) whose value is the answer's score, its last; distinct
    Tensor pairs_P2;         ///< i32: answers (of N), the better one first
    Tensor pair_margins_P;   ///< acc: by how much it is to be better; undefined: 0
    Tensor pair_weights_P;   ///< acc
    double centering = 0.0;  ///< weight of (sum of a pair's scores)^2
    Tensor labels_N;         ///< acc: 1 good, 0 bad: pointwise, in place of pairs
    Tensor label_weights_N;  ///< acc
  };
  std::optional<PreferenceRows> preference;
  /// A scalar head learns values: tokens of loss_weights_T other than 0 count.
  struct ValueRows {
    Tensor old_values_T;  ///< acc: of the rollout, near which the clip keeps the new ones
    Tensor returns_T;     ///< acc
    double clip = 0.2;    ///< 0: not clipped
  };
  std::optional<ValueRows> value;
  double balance_weight = 1.0;  ///< of the sequence-wise balance loss: sequences here / sequences of the global batch
};

/// Told by a model chunk that the last micro-batch has added to a parameter's gradient.
class GradientListener {
 public:
  virtual ~GradientListener() = default;
  virtual void gradient_ready(Parameter& parameter) = 0;
};

struct ExecContext {
  Backend& ops;
  Stream& compute;
  Stream& comm;
  const MicroBatch& batch;
  DType dtype = DType::f32;  ///< compute type: activations and weights
  bool training = true;      ///< false: no backward will follow; layers keep nothing in saved, losses make no gradient
  bool decoding = false;     ///< rows attend to a cache; every tensor-parallel rank holds all of them
  bool recomputing = false;  ///< a forward that was run before: nothing is counted or added to a sum again
  bool weights_at_once = false;  ///< backward_weight follows backward_input at once, which may add some of them already
  bool counting_experts = false;  ///< count the experts chosen where nothing is trained, too
  /// As long as it stays the same and is not 0, weights do not change: what is derived from them may be kept.
  std::uint64_t weights_epoch = 0;
  Recompute recompute = Recompute::none;
  GradientListener* gradients = nullptr;  ///< told of every gradient that is complete; null: nobody asks

  DType acc() const { return accumulation_dtype(dtype); }
  Tensor empty(const Shape& shape) const { return ops.empty(shape, dtype); }
  Tensor empty_acc(const Shape& shape) const { return ops.empty(shape, acc()); }
};

/// A number that no ExecContext of this process had: for a step, or a stretch of inference, from here on.
std::uint64_t new_weights_epoch();

/// A part of the model at work. In decoding the host's time alone: there the stream's work may be captured.
inline StreamSpan layer_span(const ExecContext& ctx, std::string_view name, std::string_view layer) {
  return {ctx.decoding ? nullptr : &ctx.compute, SpanKind::compute, name, layer};
}

template <class L>
concept Layer = requires(L layer, typename L::Saved& saved, ExecContext& ctx, const Tensor& t) {
  { layer.forward(ctx, t, saved) } -> std::same_as<Tensor>;
  { layer.backward_input(ctx, t, saved) } -> std::same_as<Tensor>;
  { layer.backward_weight(ctx, saved) } -> std::same_as<void>;
  { layer.parameters() } -> std::convertible_to<std::vector<Parameter*>>;
};

}  // namespace athanor
