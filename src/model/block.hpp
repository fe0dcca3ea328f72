// One transformer block: h = x + attention(norm(x)); y = h + ffn(norm(h)), ffn dense or a mixture of experts.
// Law: four phases (attention, dispatch, experts, combine) that a caller may interleave with those of another
// micro-batch; forward runs them in order, backward_input their transposes in reverse. The residual stream is in the
// compute type. Between phases everything lies in Saved.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "src/model/model_config.hpp"
#include "src/nn/gqa.hpp"
#include "src/nn/mla.hpp"
#include "src/nn/moe.hpp"
#include "src/nn/swiglu.hpp"

namespace athanor {

/// What all blocks of a model share; must outlive them.
struct BlockParts {
  Backend& ops;
  Stream& stream;  ///< for the first contents of states
  DType dtype;
  const RopeTables& rope;
  ExpertDispatcher& dispatcher;
  ParallelRanks ranks;
};

class Block {
 public:
  struct Saved {
    RmsNorm::Saved attention_norm, ffn_norm;
    Mla::Saved mla;
    Gqa::Saved gqa;
    SwiGlu::Saved ffn;
    Moe::Saved moe;
    Tensor h_TD;      ///< the stream after attention; from attention to combine
    Tensor ffn_x_TD;  ///< dense: from dispatch to experts
    Tensor dy_TD;     ///< from combine_backward to dispatch_backward
    Tensor dh_TD;     ///< from dispatch_backward to attention_backward
    Tensor x_TD;      ///< the block's input, where its forward is run again (Recompute::full)

    /// Lets all tensors go; what allocates on the heap keeps its memory.
    void release();
  };

  /// Parameters prefix + ".attention_norm.weight", ".attention.…", ".ffn_norm.weight", and ".moe.…" or ".ffn.…".
  Block(const std::string& prefix, const ModelConfig& config, bool is_moe, const BlockParts& parts);

  void attention(ExecContext& ctx, const Tensor& x_TD, Saved& saved);
  void dispatch(ExecContext& ctx, Saved& saved);
  void experts(ExecContext& ctx, Saved& saved);
  Tensor combine(ExecContext& ctx, Saved& saved);

  void combine_backward(ExecContext& ctx, const Tensor& dy_TD, Saved& saved);
  void experts_backward(ExecContext& ctx, Saved& saved);
  void dispatch_backward(ExecContext& ctx, Saved& saved);
  Tensor attention_backward(ExecContext& ctx, Saved& saved);

  /// With Recompute::full only the input is kept, and backward_input runs the forward again first (its messages too).
  Tensor forward(ExecContext& ctx, const Tensor& x_TD, Saved& saved);
  Tensor backward_input(ExecContext& ctx, const Tensor& dy_TD, Saved& saved);
  void backward_weight(ExecContext& ctx, Saved& saved);
  std::vector<Parameter*> parameters();

  /// The same function for rows that attend to a cache.
  Tensor decode(ExecContext& ctx, const Tensor& x_RD, const DecodeRows& rows, LayerCache& cache, Saved& scratch);

  const std::string& prefix() const { return prefix_; }
  /// The router; null in a dense block.
  Router* router() { return moe_ ? &moe_->router() : nullptr; }

 private:
  void add_attention(ExecContext& ctx, const Tensor& x_TD, const Tensor& y_TD, Saved& saved);

  std::string prefix_;
  RmsNorm attention_norm_, ffn_norm_;
  std::optional<Mla> mla_;
  std::optional<Gqa> gqa_;
  std::optional<SwiGlu> ffn_;
  std::optional<Moe> moe_;
};

static_assert(Layer<Block>);

}  // namespace athanor
