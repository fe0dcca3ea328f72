#include "src/model/mtp.hpp"

#include "src/nn/parameter_list.hpp"

namespace athanor {

MtpModule::MtpModule(const std::string& prefix, const ModelConfig& config, const BlockParts& parts,
                     Embedding& embedding, TokenCrossEntropy& loss)
    : embedding_(embedding),
      loss_(loss),
      embedding_norm_(prefix + ".embedding_norm.weight", parts.dtype, config.dim, config.norm_eps),
      hidden_norm_(prefix + ".hidden_norm.weight", parts.dtype, config.dim, config.norm_eps),
      final_norm_(prefix + ".final_norm.weight", parts.dtype, config.dim, config.norm_eps),
      eh_proj_(prefix + ".eh_proj", "", parts.dtype, config.dim, 2 * config.dim, config.init_std),
      block_(prefix + ".block", config, config.num_routed_experts > 0, parts) {}

Tensor MtpModule::forward(ExecContext& ctx, const Tensor& h_TD, const MicroBatch::MtpRows& rows, Tensor mtp_loss_1,
                          Saved& saved) {
  const Tensor e_TD = embedding_.forward(ctx, rows.tokens_T, saved.embedding);
  const Tensor joined = ctx.empty({h_TD.dim(0), 2 * h_TD.dim(1)});
  ctx.ops.concat_columns(joined, embedding_norm_.forward(ctx, e_TD, saved.embedding_norm),
                         hidden_norm_.forward(ctx, h_TD, saved.hidden_norm), ctx.compute);
  const Tensor x_TD = eh_proj_.forward(ctx, joined, saved.eh_proj);
  Tensor y_TD = final_norm_.forward(ctx, block_.forward(ctx, x_TD, saved.block), saved.final_norm);
  loss_.forward(ctx, y_TD, rows.targets_T, rows.loss_weights_T, mtp_loss_1, saved.loss);
  return y_TD;
}

Tensor MtpModule::backward_input(ExecContext& ctx, const Tensor& dy_TD, const Tensor& dresidual_TD, Saved& saved) {
  const Tensor dx_TD =
      block_.backward_input(ctx, final_norm_.backward_input(ctx, dy_TD, saved.final_norm), saved.block);
  const Tensor djoined = eh_proj_.backward_input(ctx, dx_TD, saved.eh_proj);
  const Tensor dembedding_TD = ctx.empty(dy_TD.shape());
  const Tensor dhidden_TD = ctx.empty(dy_TD.shape());
  ctx.ops.split_columns(dembedding_TD, dhidden_TD, djoined, ctx.compute);
  embedding_.backward_input(ctx, embedding_norm_.backward_input(ctx, dembedding_TD, saved.embedding_norm),
                            saved.embedding);
  return hidden_norm_.backward_input(ctx, dhidden_TD, dresidual_TD, saved.hidden_norm);
}

void MtpModule::backward_weight(ExecContext& ctx, Saved& saved) {
  embedding_.backward_weight(ctx, saved.embedding);
  embedding_norm_.backward_weight(ctx, saved.embedding_norm);
  hidden_norm_.backward_weight(ctx, saved.hidden_norm);
  eh_proj_.backward_weight(ctx, saved.eh_proj);
  block_.backward_weight(ctx, saved.block);
  final_norm_.backward_weight(ctx, saved.final_norm);
}

std::vector<Parameter*> MtpModule::parameters() {
  return parameters_of(embedding_norm_, hidden_norm_, eh_proj_, block_, final_norm_);
}

}  // namespace athanor
