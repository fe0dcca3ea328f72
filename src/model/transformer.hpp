// The model: embedding, blocks, final norm, head with its loss, MTP modules, as one ModelChunk for one pipeline rank.
// One class, described by ModelConfig, covers DeepSeek-V3/V2-Lite, Qwen2/2.5/3 and Llama-3.
// T tokens, D model width, V vocabulary, R rows of a decode call.
// Law: the context of I and W carries the micro-batch of F. Micro-batches in flight are told apart by number; a slot is
// made at its first use and reused, so a steady state allocates nothing from the heap. Parameters get their memory from
// a ParameterStore made with parameters() before the first call.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "src/loss/token_cross_entropy.hpp"
#include "src/model/block.hpp"
#include "src/model/chunk.hpp"
#include "src/model/kv_cache.hpp"
#include "src/model/model_config.hpp"
#include "src/model/mtp.hpp"
#include "src/nn/embedding.hpp"

namespace athanor {

class Transformer final : public ModelChunk {
 public:
  /// @param dispatcher  brings tokens to experts; null: all experts are here.
  /// @throws ConfigError when the configuration is impossible.
  Transformer(Backend& ops, const ModelConfig& config, DType dtype, Stream& stream,
              std::unique_ptr<ExpertDispatcher> dispatcher = nullptr);
  Transformer(const Transformer&) = delete;
  Transformer& operator=(const Transformer&) = delete;
  ~Transformer() override;

  Tensor forward(ExecContext& ctx, int micro_batch, const Tensor& x) override;
  Tensor backward_input(ExecContext& ctx, int micro_batch, const Tensor& dy) override;
  void backward_weight(ExecContext& ctx, int micro_batch) override;
  std::vector<Parameter*> parameters() override;
  /// The routers' selection biases, in the order of StepSums::expert_counts_E.
  std::vector<StateTensor*> states() override;
  StepSums& sums() override { return sums_; }

  /// losses_T (acc): -log p(target) of each token of ctx.batch, 0 where its loss weight is 0. Adds nothing to sums().
  Tensor token_losses(ExecContext& ctx);
  /// logits_TV (acc) of ctx.batch, all at once: for small batches.
  Tensor logits(ExecContext& ctx);
  /// Runs rows against the cache and appends them to it: prefill and decode steps, mixed as one likes.
  /// @returns logits_RV (acc) of the rows (of rows.logit_rows_N where that is defined).
  Tensor decode(ExecContext& ctx, const DecodeRows& rows, KvCache& cache);

  /// Runs a forward of ctx.batch and names the first layer whose output is not finite ("layers.3.attention"); empty
  /// when all are. Synchronizes.
  std::string first_nonfinite_layer(ExecContext& ctx);
  /// Names the first parameter whose weight or gradient is not finite; empty when none is. Synchronizes.
  std::string first_nonfinite_parameter(ExecContext& ctx);

  const ModelConfig& config() const { return config_; }
  DType dtype() const { return dtype_; }

 private:
  struct Slot;
  class FiniteProbe;

  Slot& slot(int micro_batch);
  void check_batch(const ExecContext& ctx) const;
  /// The state after the final norm.
  Tensor forward_hidden(ExecContext& ctx, Slot& slot, FiniteProbe* probe);
  Tensor evaluate_hidden(ExecContext& ctx);

  ModelConfig config_;
  DType dtype_;
  std::unique_ptr<ExpertDispatcher> dispatcher_;
  RopeTables rope_;
  Embedding embedding_;
  std::vector<std::unique_ptr<Block>> blocks_;
  RmsNorm final_norm_;
  LmHead head_;
  TokenCrossEntropy loss_;
  std::vector<std::unique_ptr<MtpModule>> mtp_;
  StepSums sums_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::unique_ptr<Slot> evaluation_slot_;
  Tensor discarded_loss_1_;
};

}  // namespace athanor
