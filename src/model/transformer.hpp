// The model, or a run of its layers: embedding, blocks, final norm, head with its loss, MTP modules, as one ModelChunk.
// The head gives logits of tokens, or one number a token (reward models, critics).
// One class, described by ModelConfig, covers DeepSeek-V3/V2-Lite, Qwen2/2.5/3 and Llama-3.
// T tokens, D model width, V vocabulary, R rows of a decode call.
// Law: the context of I and W carries the micro-batch of F. Micro-batches in flight are told apart by number; a slot is
// made at its first use and reused, so a steady state allocates nothing from the heap. Parameters get their memory from
// a ParameterStore made with parameters() before the first call. Between blocks a rank of tp holds T/tp rows
// (src/nn/parallel_ranks.hpp).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/loss/scalar_loss.hpp"
#include "src/loss/token_cross_entropy.hpp"
#include "src/model/block.hpp"
#include "src/model/chunk.hpp"
#include "src/model/kv_cache.hpp"
#include "src/model/model_config.hpp"
#include "src/model/model_part.hpp"
#include "src/model/mtp.hpp"
#include "src/nn/embedding.hpp"

namespace athanor {

class Transformer final : public ModelChunk {
 public:
  struct Options {
    ParallelRanks ranks = {};  ///< among which layers are cut
    /// Brings tokens to the experts of a layer ("layers.3", "mtp.0.block"); empty: all experts are here.
    std::function<std::unique_ptr<ExpertDispatcher>(const std::string& layer)> make_dispatcher = {};
    /// The chunk with the embedding on the same rank, whose weight a tied head and MTP use; null: the last chunk has a
    /// copy of its own.
    Transformer* embedding_of = nullptr;
    /// Another pipeline rank has a copy of the embedding: their gradients are added up (GradientGroup::shared).
    bool embedding_is_shared = false;
  };

  /// The whole model on one rank. @throws ConfigError when the configuration is impossible.
  Transformer(Backend& ops, const ModelConfig& config, DType dtype, Stream& stream);
  /// A part of it, or the part that the ranks of `options` leave. @throws ConfigError when they do not divide it.
  Transformer(Backend& ops, const ModelConfig& config, DType dtype, Stream& stream, const ModelPart& part,
              Options options);
  Transformer(const Transformer&) = delete;
  Transformer& operator=(const Transformer&) = delete;
  ~Transformer() override;

  Tensor forward(ExecContext& ctx, int micro_batch, const Tensor& x) override;
  Tensor backward_input(ExecContext& ctx, int micro_batch, const Tensor& dy) override;
  void backward_weight(ExecContext& ctx, int micro_batch) override;
  Tensor backward(ExecContext& ctx, int micro_batch, Tensor dy) override;
  std::vector<Parameter*> parameters() override;
  /// The routers' selection biases, in the order of StepSums::expert_counts_E.
  std::vector<StateTensor*> states() override;
  StepSums& sums() override { return sums_; }
  /// Prefixes of the layers with experts, in the same order.
  std::vector<std::string> expert_layers() const;

  /// The forward without a backward (ctx.training = false). Adds nothing to sums(). MTP modules do not run.
  /// @returns what the next chunk takes; of the last chunk losses_T (acc): -log p(target) of each token of ctx.batch, 0
  /// where its loss weight is 0; with a scalar head values_T (acc): its number at each token.
  Tensor evaluate(ExecContext& ctx, const Tensor& x_TD);
  /// The same for the whole model. @throws Error when the head is of the other kind.
  Tensor token_losses(ExecContext& ctx);
  Tensor values(ExecContext& ctx);
  /// @throws Error naming `call` where config().head is another. Of any chunk.
  void require_head(const char* call, HeadKind wanted) const;
  /// As evaluate, but the last chunk returns what its head takes: [T, D] behind the final norm.
  Tensor hidden(ExecContext& ctx, const Tensor& x_TD) { return evaluate_hidden(ctx, x_TD); }
  /// logits_TV (acc) of rows of that, of the whole vocabulary. On the chunk with the head; collective over tp.
  Tensor logits_of(ExecContext& ctx, const Tensor& h_TD) { return head_->whole_logits(ctx, h_TD); }
  /// logits_TV (acc) of ctx.batch, all at once: for small batches.
  Tensor logits(ExecContext& ctx);
  /// Runs rows against the cache and appends them to it: prefill and decode steps, mixed as one likes.
  /// @param x_RD  what the chunk before returned; undefined for the first.
  /// @returns logits_RV (acc, of the whole vocabulary) of the rows (of rows.logit_rows_N where that is defined); what
  /// the next chunk takes where there is one.
  Tensor decode(ExecContext& ctx, const DecodeRows& rows, KvCache& cache, const Tensor& x_RD = {});
  /// A cache for the layers and heads held here.
  KvCache make_cache(Backend& ops, std::int64_t num_pages, std::int64_t page_rows, CacheForm form) const {
    return KvCache(ops, config_, dtype_, num_pages, page_rows, part_.layer_end - part_.layer_begin, ranks_.tp_size(),
                   form);
  }

  /// Runs a forward of ctx.batch and names the first layer whose output is not finite ("layers.3.attention"); empty
  /// when all are. Synchronizes.
  std::string first_nonfinite_layer(ExecContext& ctx);
  /// Names the first parameter whose weight or gradient is not finite; empty when none is. Synchronizes.
  std::string first_nonfinite_parameter(ExecContext& ctx);

  const ModelConfig& config() const { return config_; }
  const ModelPart& part() const { return part_; }
  DType dtype() const { return dtype_; }

 private:
  struct Slot;
  class FiniteProbe;

  Slot& slot(int micro_batch);
  void check_batch(const ExecContext& ctx) const;
  /// From the input of the chunk to its output: behind the final norm where it has the head.
  Tensor forward_hidden(ExecContext& ctx, const Tensor& x_TD, Slot& slot, FiniteProbe* probe);
  Tensor evaluate_hidden(ExecContext& ctx, const Tensor& x_TD);
  /// From the last layer to the first: I of each, W of each, or both before the next.
  enum class Pass : std::uint8_t { input, weight, both };
  Tensor backward_through(ExecContext& ctx, Slot& saved, Tensor dy_TD, Pass pass);
  /// What the backward begins with: the gradient of the state behind the final norm.
  Tensor head_gradient(Slot& saved);
  void require_input(const char* call, const Tensor& x_TD, bool wanted) const;
  static void tell_ready(ExecContext& ctx, const std::vector<Parameter*>& parameters);

  ModelConfig config_;
  ModelPart part_;
  DType dtype_;
  ParallelRanks ranks_;
  std::vector<std::unique_ptr<ExpertDispatcher>> dispatchers_;  ///< one a layer with experts
  RopeTables rope_;
  std::optional<Embedding> own_embedding_;
  bool embedding_is_borrowed_ = false;  ///< another chunk here adds to its gradient
  Embedding* embedding_ = nullptr;      ///< null where neither the first token nor the head needs it
  std::vector<std::unique_ptr<Block>> blocks_;
  std::optional<RmsNorm> final_norm_;  ///< these of the last chunk
  std::optional<LmHead> head_;
  std::optional<TokenCrossEntropy> loss_;
  std::optional<ValueHead> value_head_;  ///< in place of head_ and loss_
  std::optional<ScalarLoss> scalar_loss_;
  std::vector<std::unique_ptr<MtpModule>> mtp_;
  /// By whose W is the last to add to their gradients; kept, for lists allocate.
  std::vector<std::vector<Parameter*>> parameters_of_block_, parameters_of_mtp_;
  std::vector<Parameter*> parameters_of_head_, parameters_of_embedding_;
  StepSums sums_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::unique_ptr<Slot> evaluation_slot_;
  Tensor discarded_loss_1_;
};

}  // namespace athanor
