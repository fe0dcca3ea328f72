#include "src/model/block.hpp"

#include <cmath>
#include <utility>

#include "src/nn/parameter_list.hpp"

namespace athanor {
namespace {

double softmax_scale(const ModelConfig& config) {
  return rope_softmax_factor(config.rope) / std::sqrt(static_cast<double>(config.qk_head_dim()));
}

MlaConfig mla_config(const ModelConfig& config) {
  return {.dim = config.dim,
          .num_heads = config.num_heads,
          .q_lora_rank = config.q_lora_rank,
          .kv_lora_rank = config.kv_lora_rank,
          .qk_nope_head_dim = config.qk_nope_head_dim,
          .qk_rope_head_dim = config.qk_rope_head_dim,
          .v_head_dim = config.v_head_dim,
          .softmax_scale = softmax_scale(config),
          .norm_eps = config.norm_eps,
          .init_std = config.init_std};
}

GqaConfig gqa_config(const ModelConfig& config) {
  return {.dim = config.dim,
          .num_heads = config.num_heads,
          .num_kv_heads = config.num_kv_heads,
          .head_dim = config.head_dim,
          .qkv_bias = config.qkv_bias,
          .qk_norm = config.qk_norm,
          .softmax_scale = softmax_scale(config),
          .norm_eps = config.norm_eps,
          .init_std = config.init_std};
}

MoeConfig moe_config(const ModelConfig& config) {
  MoeConfig moe;
  moe.router.args = {.score_function = config.router_sigmoid ? ScoreFunction::sigmoid : ScoreFunction::softmax,
                     .num_experts = config.num_routed_experts,
                     .top_k = config.experts_per_token,
                     .num_groups = config.num_expert_groups,
                     .num_limited_groups = config.num_limited_groups,
                     .normalize_weights = config.router_sigmoid,
                     .route_scale = config.route_scale,
                     .group_score_is_max = !config.router_sigmoid};
  moe.router.dim = config.dim;
  moe.router.balance_loss_alpha = config.balance_loss_alpha;
  moe.router.init_std = config.init_std;
  moe.dim = config.dim;
  moe.moe_inter_dim = config.moe_inter_dim;
  moe.num_shared_experts = config.num_shared_experts;
  moe.init_std = config.init_std;
  return moe;
}

}  // namespace

Block::Block(const std::string& prefix, const ModelConfig& config, bool is_moe, const BlockParts& parts)
    : prefix_(prefix),
      attention_norm_(prefix + ".attention_norm.weight", parts.dtype, config.dim, config.norm_eps),
      ffn_norm_(prefix + ".ffn_norm.weight", parts.dtype, config.dim, config.norm_eps) {
  if (config.attention == AttentionKind::mla)
    mla_.emplace(prefix + ".attention", parts.dtype, mla_config(config), parts.rope, parts.ranks);
  else
    gqa_.emplace(prefix + ".attention", parts.dtype, gqa_config(config), parts.rope, parts.ranks);
  if (is_moe)
    moe_.emplace(parts.ops, prefix + ".moe", parts.dtype, moe_config(config), parts.dispatcher, parts.stream,
                 parts.ranks);
  else
    ffn_.emplace(prefix + ".ffn", parts.dtype, config.dim, config.inter_dim, config.init_std, parts.ranks);
  if (!config.fp8) return;
  const KeptInputs inputs = config.keeps_fp8() ? KeptInputs::fp8 : KeptInputs::numbers;
  if (mla_) mla_->use_fp8(inputs);
  if (gqa_) gqa_->use_fp8(inputs);
  if (moe_) moe_->use_fp8(inputs, config.fp8_dispatch);
  if (ffn_) ffn_->use_fp8(inputs);
}

void Block::add_attention(ExecContext& ctx, const Tensor& x_TD, const Tensor& y_TD, Saved& saved) {
  ctx.ops.add(y_TD, y_TD, x_TD, ctx.compute);
  saved.h_TD = y_TD;
}

void Block::attention(ExecContext& ctx, const Tensor& x_TD, Saved& saved) {
  const StreamSpan span = layer_span(ctx, "attention", prefix_);
  const Tensor normed_TD = attention_norm_.forward(ctx, x_TD, saved.attention_norm);
  const Tensor y_TD = mla_ ? mla_->forward(ctx, normed_TD, saved.mla) : gqa_->forward(ctx, normed_TD, saved.gqa);
  add_attention(ctx, x_TD, y_TD, saved);
}

void Block::dispatch(ExecContext& ctx, Saved& saved) {
  const StreamSpan span = layer_span(ctx, moe_ ? "dispatch" : "norm", prefix_);
  const Tensor normed_TD = ffn_norm_.forward(ctx, saved.h_TD, saved.ffn_norm);
  if (moe_)
    moe_->dispatch(ctx, normed_TD, saved.moe);
  else
    saved.ffn_x_TD = normed_TD;
}

void Block::experts(ExecContext& ctx, Saved& saved) {
  const StreamSpan span = layer_span(ctx, moe_ ? "experts" : "ffn inner", prefix_);
  if (moe_)
    moe_->experts(ctx, saved.moe);
  else
    ffn_->forward_inner(ctx, saved.ffn_x_TD, saved.ffn);
  saved.ffn_x_TD = Tensor{};
}

Tensor Block::combine(ExecContext& ctx, Saved& saved) {
  const StreamSpan span = layer_span(ctx, moe_ ? "combine" : "ffn outer", prefix_);
  Tensor y_TD;
  if (moe_) {
    y_TD = moe_->combine(ctx, saved.moe);
  } else {
    y_TD = ctx.empty(saved.h_TD.shape());
    ffn_->forward_outer(ctx, y_TD, false, saved.ffn);
  }
  ctx.ops.add(y_TD, y_TD, saved.h_TD, ctx.compute);
  saved.h_TD = Tensor{};
  return y_TD;
}

void Block::combine_backward(ExecContext& ctx, const Tensor& dy_TD, Saved& saved) {
  const StreamSpan span = layer_span(ctx, moe_ ? "combine backward" : "ffn outer backward", prefix_);
  saved.dy_TD = dy_TD;
  if (moe_)
    moe_->combine_backward(ctx, dy_TD, saved.moe);
  else
    ffn_->backward_outer(ctx, dy_TD, saved.ffn);
}

void Block::experts_backward(ExecContext& ctx, Saved& saved) {
  if (!moe_) return;
  const StreamSpan span = layer_span(ctx, "experts backward", prefix_);
  moe_->experts_backward(ctx, saved.moe);
}

void Block::dispatch_backward(ExecContext& ctx, Saved& saved) {
  const StreamSpan span = layer_span(ctx, moe_ ? "dispatch backward" : "ffn inner backward", prefix_);
  Tensor dnormed_TD;
  if (moe_) {
    dnormed_TD = moe_->dispatch_backward(ctx, saved.moe);
  } else {
    dnormed_TD = ctx.empty(saved.dy_TD.shape());
    ffn_->backward_inner(ctx, dnormed_TD, false, saved.ffn);
  }
  saved.dh_TD = ffn_norm_.backward_input(ctx, dnormed_TD, saved.dy_TD, saved.ffn_norm);
  saved.dy_TD = Tensor{};
}

Tensor Block::attention_backward(ExecContext& ctx, Saved& saved) {
  const StreamSpan span = layer_span(ctx, "attention backward", prefix_);
  const Tensor dh_TD = saved.dh_TD;
  saved.dh_TD = Tensor{};
  const Tensor dnormed_TD =
      mla_ ? mla_->backward_input(ctx, dh_TD, saved.mla) : gqa_->backward_input(ctx, dh_TD, saved.gqa);
  return attention_norm_.backward_input(ctx, dnormed_TD, dh_TD, saved.attention_norm);
}

void Block::Saved::release() {
  DispatchHandle handle = std::move(moe.handle);
  *this = Saved{};
  handle.release();
  moe.handle = std::move(handle);
}

Tensor Block::forward(ExecContext& ctx, const Tensor& x_TD, Saved& saved) {
  attention(ctx, x_TD, saved);
  dispatch(ctx, saved);
  experts(ctx, saved);
  Tensor y_TD = combine(ctx, saved);
  if (ctx.training && ctx.recompute == Recompute::full && !ctx.recomputing) {
    saved.release();
    saved.x_TD = x_TD;
  }
  return y_TD;
}

Tensor Block::backward_input(ExecContext& ctx, const Tensor& dy_TD, Saved& saved) {
  if (saved.x_TD.defined()) {
    ExecContext again = ctx;
    again.recomputing = true;
    const Tensor x_TD = std::exchange(saved.x_TD, Tensor{});
    forward(again, x_TD, saved);
  }
  combine_backward(ctx, dy_TD, saved);
  experts_backward(ctx, saved);
  dispatch_backward(ctx, saved);
  return attention_backward(ctx, saved);
}

void Block::backward_weight(ExecContext& ctx, Saved& saved) {
  const StreamSpan span = layer_span(ctx, "weight gradients", prefix_);
  attention_norm_.backward_weight(ctx, saved.attention_norm);
  if (mla_)
    mla_->backward_weight(ctx, saved.mla);
  else
    gqa_->backward_weight(ctx, saved.gqa);
  ffn_norm_.backward_weight(ctx, saved.ffn_norm);
  if (moe_)
    moe_->backward_weight(ctx, saved.moe);
  else
    ffn_->backward_weight(ctx, saved.ffn);
}

Tensor Block::decode(ExecContext& ctx, const Tensor& x_RD, const DecodeRows& rows, LayerCache& cache, Saved& scratch) {
  {
    const StreamSpan span = layer_span(ctx, "attention", prefix_);
    const Tensor normed_RD = attention_norm_.forward(ctx, x_RD, scratch.attention_norm);
    const Tensor y_RD = mla_ ? mla_->decode(ctx, normed_RD, rows, cache) : gqa_->decode(ctx, normed_RD, rows, cache);
    add_attention(ctx, x_RD, y_RD, scratch);
  }
  dispatch(ctx, scratch);
  experts(ctx, scratch);
  return combine(ctx, scratch);
}

std::vector<Parameter*> Block::parameters() {
  return parameters_of(attention_norm_, mla_, gqa_, ffn_norm_, moe_, ffn_);
}

}  // namespace athanor
