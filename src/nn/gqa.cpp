#include "src/nn/gqa.hpp"

#include <utility>

#include "src/nn/parameter_list.hpp"

namespace athanor {
namespace {

void set_input(Gqa::Saved& saved, const Activation& x_TD) { saved.w_q.x_TI = saved.w_k.x_TI = saved.w_v.x_TI = x_TD; }

}  // namespace

Gqa::Gqa(const std::string& prefix, DType dtype, const GqaConfig& config, const RopeTables& rope,
         const ParallelRanks& ranks)
    : config_(config),
      args_{.num_heads = ranks.share(config.num_heads, "model.num_heads"),
            .num_kv_heads = ranks.share(config.num_kv_heads, "model.num_kv_heads"),
            .qk_dim = config.head_dim,
            .v_dim = config.head_dim,
            .scale = config.softmax_scale},
      ranks_(ranks),
      rope_(rope),
      w_q_(prefix + ".w_q", config.qkv_bias ? prefix + ".b_q" : "", dtype, config.num_heads * config.head_dim,
           config.dim, config.init_std),
      w_k_(prefix + ".w_k", config.qkv_bias ? prefix + ".b_k" : "", dtype, config.num_kv_heads * config.head_dim,
           config.dim, config.init_std),
      w_v_(prefix + ".w_v", config.qkv_bias ? prefix + ".b_v" : "", dtype, config.num_kv_heads * config.head_dim,
           config.dim, config.init_std),
      w_o_(prefix + ".w_o", "", dtype, config.dim, config.num_heads * config.head_dim, config.init_std) {
  if (config.qk_norm) {
    q_norm_.emplace(prefix + ".q_norm.weight", dtype, config.head_dim, config.norm_eps);
    k_norm_.emplace(prefix + ".k_norm.weight", dtype, config.head_dim, config.norm_eps);
  }
  config_.num_heads = args_.num_heads;
  config_.num_kv_heads = args_.num_kv_heads;
  for (Linear* w : {&w_q_, &w_k_, &w_v_}) w->cut_outputs(ranks);
  w_o_.cut_inputs(ranks);
}

Tensor Gqa::project(ExecContext& ctx, Linear& w, std::optional<RmsNorm>& norm, std::int64_t num_heads, Activation& x_TD,
                    const Tensor& positions_T, Linear::Saved& saved_w, RmsNorm::Saved& saved_norm) {
  Tensor heads = w.forward(ctx, x_TD, saved_w);
  if (norm) {
    const Shape shape = heads.shape();
    heads = norm->forward(ctx, heads.reshaped({shape[0] * num_heads, config_.head_dim}), saved_norm).reshaped(shape);
  }
  rope_.apply(ctx, heads, positions_T, num_heads, 0);
  return heads;
}

Tensor Gqa::project_backward(ExecContext& ctx, std::optional<RmsNorm>& norm, std::int64_t num_heads,
                             const Tensor& dheads, RmsNorm::Saved& saved_norm) {
  rope_.apply_backward(ctx, dheads, ctx.batch.positions_T, num_heads, 0);
  if (!norm) return dheads;
  const Shape shape = dheads.shape();
  const Tensor dnormed = dheads.reshaped({shape[0] * num_heads, config_.head_dim});
  return norm->backward_input(ctx, dnormed, saved_norm).reshaped(shape);
}

Gqa::Operands Gqa::operands(ExecContext& ctx, Activation& all_TD, Saved& saved) {
  const Tensor& positions_T = ctx.batch.positions_T;
  Operands made;
  made.q = project(ctx, w_q_, q_norm_, config_.num_heads, all_TD, positions_T, saved.w_q, saved.q_norm);
  made.k = ranks_.gather_context(
      ctx, project(ctx, w_k_, k_norm_, config_.num_kv_heads, all_TD, positions_T, saved.w_k, saved.k_norm));
  made.v = ranks_.gather_context(ctx, w_v_.forward(ctx, all_TD, saved.w_v));
  return made;
}

Tensor Gqa::forward(ExecContext& ctx, const Tensor& x_TD, Saved& saved) {
  Operands made;
  {  // what is not kept of the input goes before attention
    Activation all_TD(ranks_.gather(ctx, x_TD));
    made = operands(ctx, all_TD, saved);
  }
  const auto& [q, k, v] = made;
  if (ctx.training && ranks_.tp_size() > 1) set_input(saved, Activation(x_TD).kept(ctx, w_q_.kept_inputs()));
  const Tensor o = ctx.empty(q.shape());
  const Tensor lse_TH = ctx.empty_acc({q.dim(0), config_.num_heads});
  ctx.ops.attention_forward(o, lse_TH, q, k, v, ctx.batch.key_begin_T, ctx.batch.context.key_end_T, args_, ctx.compute);
  if (ctx.training) {
    if (ctx.recompute == Recompute::selective) {
      saved.q_norm = saved.k_norm = RmsNorm::Saved{};
    } else {
      saved.q = q;
      saved.k = k;
      saved.v = v;
    }
    saved.o = o;
    saved.lse_TH = lse_TH;
  }
  return ranks_.sum_scatter(ctx, w_o_.forward(ctx, o, saved.w_o));
}

Tensor Gqa::backward_input(ExecContext& ctx, const Tensor& dy_TD, Saved& saved) {
  Tensor d_o = w_o_.backward_input(ctx, ranks_.gather(ctx, dy_TD), saved.w_o);
  set_input(saved, gathered(ctx, ranks_, saved.w_q.x_TI, w_q_.kept_inputs()));
  if (!saved.q.defined()) {
    Activation all_TD = saved.w_q.x_TI;
    const auto [q, k, v] = operands(ctx, all_TD, saved);
    saved.q = q;
    saved.k = k;
    saved.v = v;
  }
  const Tensor dq = ctx.empty(saved.q.shape());
  Tensor dk = ctx.empty(saved.k.shape());
  Tensor dv = ctx.empty(saved.v.shape());
  ctx.ops.attention_backward(dq, dk, dv, d_o, saved.q, saved.k, saved.v, saved.o, saved.lse_TH, ctx.batch.key_begin_T,
                             ctx.batch.context.key_end_T, args_, ctx.compute);
  d_o = saved.q = saved.k = saved.v = saved.o = saved.lse_TH = Tensor{};
  dk = ranks_.sum_scatter_context(ctx, dk);
  dv = ranks_.sum_scatter_context(ctx, dv);
  Tensor dx_TD = w_v_.backward_input(ctx, dv, saved.w_v);
  w_k_.backward_input_into(ctx, project_backward(ctx, k_norm_, config_.num_kv_heads, dk, saved.k_norm), dx_TD, true,
                           saved.w_k);
  w_q_.backward_input_into(ctx, project_backward(ctx, q_norm_, config_.num_heads, dq, saved.q_norm), dx_TD, true,
                           saved.w_q);
  return ranks_.sum_scatter(ctx, dx_TD);
}

void Gqa::backward_weight(ExecContext& ctx, Saved& saved) {
  {
    Activation x = std::exchange(saved.w_q.x_TI, Activation{});
    w_q_.backward_weight(ctx, x, saved.w_q);
    w_k_.backward_weight(ctx, x, saved.w_k);
    w_v_.backward_weight(ctx, x, saved.w_v);
  }
  if (q_norm_) {
    q_norm_->backward_weight(ctx, saved.q_norm);
    k_norm_->backward_weight(ctx, saved.k_norm);
  }
  w_o_.backward_weight(ctx, saved.w_o);
}

Tensor Gqa::decode(ExecContext& ctx, const Tensor& x_RD, const DecodeRows& rows, LayerCache& cache) {
  Saved unused;
  const Tensor& positions_R = rows.positions_R;
  Activation x(x_RD);
  const Tensor q = project(ctx, w_q_, q_norm_, config_.num_heads, x, positions_R, unused.w_q, unused.q_norm);
  const Tensor k = project(ctx, w_k_, k_norm_, config_.num_kv_heads, x, positions_R, unused.w_k, unused.k_norm);
  const Tensor v = w_v_.forward(ctx, x, unused.w_v);
  ctx.ops.scatter_rows(cache.k, k, rows.cache_rows_R, ctx.compute);
  ctx.ops.scatter_rows(cache.v, v, rows.cache_rows_R, ctx.compute);
  const Tensor o = ctx.empty(q.shape());
  ctx.ops.attention_cached(o, q, cache.k, cache.v, rows.pages_SP, rows.slots_R, rows.lengths_R, cache.page_rows, args_,
                           ctx.compute);
  return ranks_.sum_scatter(ctx, w_o_.forward(ctx, o, unused.w_o));
}

void Gqa::use_fp8(KeptInputs inputs) {
  for (Linear* linear : {&w_q_, &w_k_, &w_v_}) linear->use_fp8(inputs);
  w_o_.use_fp8(KeptInputs::numbers);
}

std::vector<Parameter*> Gqa::parameters() { return parameters_of(w_q_, w_k_, w_v_, q_norm_, k_norm_, w_o_); }

}  // namespace athanor
