// One module of multi-token prediction. Source: DeepSeek-V3 report, eq. 21-25; section 2.2.
//   h_k = block( eh_proj [ RMSNorm(embedding(t_{i+k})) | RMSNorm(h_{k-1}) ] ), then the module's own final norm.
// Law: the order of eh_proj's inputs is that of the released weights (embedding first). Embedding and head are the main
// model's. Module k feeds on the state after the previous final norm, the main model's or module k-1's. Position i
// carries the row's token i+k+1 (k from 0); positions whose target lies past the row or document have loss weight 0,
// and nothing before them can see them.
#pragma once

#include <string>
#include <vector>

#include "src/loss/token_cross_entropy.hpp"
#include "src/model/block.hpp"
#include "src/nn/embedding.hpp"

namespace athanor {

class MtpModule {
 public:
  struct Saved {
    Embedding::Saved embedding;
    RmsNorm::Saved embedding_norm, hidden_norm, final_norm;
    Linear::Saved eh_proj;
    Block::Saved block;
    TokenCrossEntropy::Saved loss;
  };

  /// Parameters prefix + ".embedding_norm.weight", ".hidden_norm.weight", ".eh_proj" [D,2D], ".block.…",
  /// ".final_norm.weight".
  MtpModule(const std::string& prefix, const ModelConfig& config, const BlockParts& parts, Embedding& embedding,
            TokenCrossEntropy& loss);

  /// @param h_TD  state after the previous final norm.  @returns the state after this module's final norm; mtp_loss_1
  /// += its weighted loss.
  Tensor forward(ExecContext& ctx, const Tensor& h_TD, const MicroBatch::MtpRows& rows, Tensor mtp_loss_1,
                 Saved& saved);
  /// @param dy_TD  gradient of what forward returned, this module's own loss included.
  /// @param dresidual_TD  is added to the result: the gradient that h_TD receives from its own loss.
  Tensor backward_input(ExecContext& ctx, const Tensor& dy_TD, const Tensor& dresidual_TD, Saved& saved);
  void backward_weight(ExecContext& ctx, Saved& saved);
  std::vector<Parameter*> parameters();
  Block& block() { return block_; }

 private:
  Embedding& embedding_;
  TokenCrossEntropy& loss_;
  RmsNorm embedding_norm_, hidden_norm_, final_norm_;
  Linear eh_proj_;
  Block block_;
};

}  // namespace athanor
