#include "src/nn/mla.hpp"

#include <utility>

#include "src/nn/parameter_list.hpp"

namespace athanor {
namespace {

AttentionArgs attention_args(const MlaConfig& config) {
  const std::int64_t qk_dim = config.qk_nope_head_dim + config.qk_rope_head_dim;
  return {.num_heads = config.num_heads,
          .num_kv_heads = config.num_heads,
          .qk_dim = qk_dim,
          .v_dim = config.v_head_dim,
          .scale = config.softmax_scale};
}

/// The absorbed form: every head reads the one latent row a token.
AttentionArgs absorbed_args(const MlaConfig& config) {
  return {.num_heads = config.num_heads,
          .num_kv_heads = 1,
          .qk_dim = config.kv_lora_rank + config.qk_rope_head_dim,
          .v_dim = config.kv_lora_rank,
          .scale = config.softmax_scale};
}

}  // namespace

Mla::Mla(const std::string& prefix, DType dtype, const MlaConfig& config, const RopeTables& rope,
         const ParallelRanks& ranks)
    : config_(config),
      rope_(rope),
      ranks_(ranks),
      w_kv_a_(prefix + ".w_kv_a", "", dtype, config.kv_lora_rank + config.qk_rope_head_dim, config.dim,
              config.init_std),
      w_kv_b_(prefix + ".w_kv_b", "", dtype, config.num_heads * (config.qk_nope_head_dim + config.v_head_dim),
              config.kv_lora_rank, config.init_std),
      w_o_(prefix + ".w_o", "", dtype, config.dim, config.num_heads * config.v_head_dim, config.init_std),
      kv_norm_(prefix + ".kv_norm.weight", dtype, config.kv_lora_rank, config.norm_eps) {
  const std::int64_t q_width = config.num_heads * (config.qk_nope_head_dim + config.qk_rope_head_dim);
  if (config.q_lora_rank == 0) {
    w_q_.emplace(prefix + ".w_q", "", dtype, q_width, config.dim, config.init_std);
  } else {
    w_q_a_.emplace(prefix + ".w_q_a", "", dtype, config.q_lora_rank, config.dim, config.init_std);
    q_norm_.emplace(prefix + ".q_norm.weight", dtype, config.q_lora_rank, config.norm_eps);
    w_q_b_.emplace(prefix + ".w_q_b", "", dtype, q_width, config.q_lora_rank, config.init_std);
  }
  config_.num_heads = ranks.share(config.num_heads, "model.num_heads");
  (w_q_ ? w_q_ : w_q_b_)->cut_outputs(ranks);
  w_kv_b_.cut_outputs(ranks);
  w_o_.cut_inputs(ranks);
}

template <class Map>
Mla::Latent Mla::map_joined(ExecContext& ctx, const Latent& latent, const Map& map) const {
  const std::int64_t width = config_.kv_lora_rank + config_.qk_rope_head_dim;
  Tensor joined = ctx.empty({latent.c_kv.dim(0), width});
  ctx.ops.concat_columns(joined, latent.c_kv, latent.k_pe, ctx.compute);
  joined = map(joined);
  const Latent mapped{ctx.empty({joined.dim(0), config_.kv_lora_rank}),
                      ctx.empty({joined.dim(0), config_.qk_rope_head_dim})};
  ctx.ops.split_columns(mapped.c_kv, mapped.k_pe, joined, ctx.compute);
  return mapped;
}

Tensor Mla::project_query(ExecContext& ctx, Activation& x_TD, const Tensor& positions_T, Saved& saved) {
  Tensor q;
  if (w_q_) {
    q = project_gathered(ctx, *w_q_, x_TD, saved.w_q);
  } else {
    Activation c_q(q_norm_->forward(ctx, w_q_a_->forward(ctx, x_TD, saved.w_q_a), saved.q_norm));
    q = project_gathered(ctx, *w_q_b_, c_q, saved.w_q_b);
  }
  rope_.apply(ctx, q, positions_T, config_.num_heads, config_.qk_nope_head_dim);
  return q;
}

Tensor Mla::project_gathered(ExecContext& ctx, Linear& w, Activation& x_TI, Linear::Saved& saved) {
  if (ranks_.tp_size() == 1) return w.forward(ctx, x_TI, saved);
  const Tensor q = w.forward(ctx, ranks_.gather(ctx, x_TI.numbers(ctx)), saved);
  if (ctx.training) saved.x_TI = x_TI.kept(ctx, w.kept_inputs());
  return q;
}

Mla::Latent Mla::project_latent(ExecContext& ctx, Activation& x_TD, const Tensor& positions_T, Saved& saved) {
  const Tensor kv_a = w_kv_a_.forward(ctx, x_TD, saved.w_kv_a);
  const Tensor c_kv = ctx.empty({x_TD.num_rows(), config_.kv_lora_rank});
  const Tensor k_pe = ctx.empty({x_TD.num_rows(), config_.qk_rope_head_dim});
  ctx.ops.split_columns(c_kv, k_pe, kv_a, ctx.compute);
  Latent latent{kv_norm_.forward(ctx, c_kv, saved.kv_norm), k_pe};
  if (ranks_.tp_size() > 1 && !ctx.decoding)
    latent = map_joined(ctx, latent, [&](const Tensor& joined) { return ranks_.gather(ctx, joined); });
  rope_.apply(ctx, latent.k_pe, positions_T, 1, 0);
  if (ranks_.cp_size() > 1 && !ctx.decoding)
    latent = map_joined(ctx, latent, [&](const Tensor& joined) { return ranks_.gather_context(ctx, joined); });
  return latent;
}

void Mla::assemble_keys(ExecContext& ctx, Activation& c_kv, const Tensor& k_pe, Tensor& k, Tensor& v, Saved& saved) {
  const std::int64_t keys = k_pe.dim(0), heads = config_.num_heads;
  const Tensor kv = w_kv_b_.forward(ctx, c_kv, saved.w_kv_b);
  k = ctx.empty({keys, heads * (config_.qk_nope_head_dim + config_.qk_rope_head_dim)});
  v = ctx.empty({keys, heads * config_.v_head_dim});
  ctx.ops.mla_assemble_kv(k, v, kv, k_pe, heads, ctx.compute);
}

void Mla::recompute_operands(ExecContext& ctx, Saved& saved) {
  Linear& w_q = w_q_ ? *w_q_ : *w_q_b_;
  Linear::Saved& saved_q = w_q_ ? saved.w_q : saved.w_q_b;
  saved.q = w_q.forward(ctx, saved_q.x_TI, saved_q);
  rope_.apply(ctx, saved.q, ctx.batch.positions_T, config_.num_heads, config_.qk_nope_head_dim);
  assemble_keys(ctx, saved.w_kv_b.x_TI, saved.k_pe, saved.k, saved.v, saved);
  saved.k_pe = Tensor{};
}

Tensor Mla::forward(ExecContext& ctx, const Tensor& x_TD, Saved& saved) {
  Tensor q, k, v, k_pe;
  {  // what is not kept of the inputs goes before attention
    Activation x(x_TD);
    q = project_query(ctx, x, ctx.batch.positions_T, saved);
    Latent latent = project_latent(ctx, x, ctx.batch.positions_T, saved);
    k_pe = latent.k_pe;
    Activation c_kv(std::move(latent.c_kv));
    assemble_keys(ctx, c_kv, k_pe, k, v, saved);
  }
  const Tensor o = ctx.empty({q.dim(0), config_.num_heads * config_.v_head_dim});
  const Tensor lse_TH = ctx.empty_acc({q.dim(0), config_.num_heads});
  ctx.ops.attention_forward(o, lse_TH, q, k, v, ctx.batch.key_begin_T, ctx.batch.context.key_end_T,
                            attention_args(config_), ctx.compute);
  if (ctx.training) {
    if (ctx.recompute == Recompute::selective) {
      saved.k_pe = k_pe;
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

Tensor Mla::backward_input(ExecContext& ctx, const Tensor& dy_TD, Saved& saved) {
  const std::int64_t heads = config_.num_heads;
  Tensor d_o = w_o_.backward_input(ctx, ranks_.gather(ctx, dy_TD), saved.w_o);
  Linear::Saved& saved_q = w_q_ ? saved.w_q : saved.w_q_b;
  saved_q.x_TI = gathered(ctx, ranks_, saved_q.x_TI, (w_q_ ? *w_q_ : *w_q_b_).kept_inputs());
  if (!saved.q.defined()) recompute_operands(ctx, saved);
  const Tensor dq = ctx.empty(saved.q.shape());
  Tensor dk = ctx.empty(saved.k.shape());
  Tensor dv = ctx.empty(saved.v.shape());
  ctx.ops.attention_backward(dq, dk, dv, d_o, saved.q, saved.k, saved.v, saved.o, saved.lse_TH, ctx.batch.key_begin_T,
                             ctx.batch.context.key_end_T, attention_args(config_), ctx.compute);
  d_o = saved.q = saved.k = saved.v = saved.o = saved.lse_TH = Tensor{};
  const Tensor dkv = ctx.empty({dk.dim(0), w_kv_b_.out_features()});
  Latent dlatent{Tensor{}, ctx.empty({dk.dim(0), config_.qk_rope_head_dim})};
  ctx.ops.mla_assemble_kv_backward(dkv, dlatent.k_pe, dk, dv, heads, ctx.compute);
  dk = dv = Tensor{};

  // project_latent: every rank has the part of its heads and queries
  dlatent.c_kv = w_kv_b_.backward_input(ctx, dkv, saved.w_kv_b);
  if (ranks_.cp_size() > 1)
    dlatent = map_joined(ctx, dlatent, [&](const Tensor& joined) { return ranks_.sum_scatter_context(ctx, joined); });
  rope_.apply_backward(ctx, dlatent.k_pe, ctx.batch.positions_T, 1, 0);
  if (ranks_.tp_size() > 1)
    dlatent = map_joined(ctx, dlatent, [&](const Tensor& joined) { return ranks_.sum_scatter(ctx, joined); });
  const Tensor dc_kv = kv_norm_.backward_input(ctx, dlatent.c_kv, saved.kv_norm);
  const Tensor dkv_a = ctx.empty({dc_kv.dim(0), w_kv_a_.out_features()});
  ctx.ops.concat_columns(dkv_a, dc_kv, dlatent.k_pe, ctx.compute);
  Tensor dx_TD = w_kv_a_.backward_input(ctx, dkv_a, saved.w_kv_a);

  // project_query
  rope_.apply_backward(ctx, dq, ctx.batch.positions_T, heads, config_.qk_nope_head_dim);
  if (w_q_a_) {
    const Tensor dc_q = ranks_.sum_scatter(ctx, w_q_b_->backward_input(ctx, dq, saved.w_q_b));
    w_q_a_->backward_input_into(ctx, q_norm_->backward_input(ctx, dc_q, saved.q_norm), dx_TD, true, saved.w_q_a);
  } else if (ranks_.tp_size() == 1) {
    w_q_->backward_input_into(ctx, dq, dx_TD, true, saved.w_q);
  } else {
    ranks_.sum_scatter_into(ctx, w_q_->backward_input(ctx, dq, saved.w_q), dx_TD, true);
  }
  return dx_TD;
}

void Mla::backward_weight(ExecContext& ctx, Saved& saved) {
  {
    Activation x = std::exchange(saved.w_kv_a.x_TI, Activation{});
    w_kv_a_.backward_weight(ctx, x, saved.w_kv_a);
    if (w_q_a_)
      w_q_a_->backward_weight(ctx, x, saved.w_q_a);
    else if (ranks_.tp_size() == 1)
      w_q_->backward_weight(ctx, x, saved.w_q);
  }
  if (w_q_a_) {
    q_norm_->backward_weight(ctx, saved.q_norm);
    w_q_b_->backward_weight(ctx, saved.w_q_b);
  } else if (ranks_.tp_size() > 1) {
    w_q_->backward_weight(ctx, saved.w_q);
  }
  kv_norm_.backward_weight(ctx, saved.kv_norm);
  w_kv_b_.backward_weight(ctx, saved.w_kv_b);
  w_o_.backward_weight(ctx, saved.w_o);
}

Tensor Mla::attend_heads(ExecContext& ctx, const Tensor& q, const Latent& latent, const DecodeRows& rows,
                         LayerCache& cache) {
  Saved unused;
  Tensor k, v;
  Activation c_kv(latent.c_kv);
  assemble_keys(ctx, c_kv, latent.k_pe, k, v, unused);
  ctx.ops.scatter_rows(cache.k, k, rows.cache_rows_R, ctx.compute);
  ctx.ops.scatter_rows(cache.v, v, rows.cache_rows_R, ctx.compute);
  Tensor o = ctx.empty({q.dim(0), config_.num_heads * config_.v_head_dim});
  ctx.ops.attention_cached(o, q, cache.k, cache.v, rows.pages_SP, rows.slots_R, rows.lengths_R, cache.page_rows,
                           attention_args(config_), ctx.compute);
  return o;
}

Tensor Mla::attend_latents(ExecContext& ctx, const Tensor& q, const Latent& latent, const DecodeRows& rows,
                           LayerCache& cache) {
  const std::int64_t num_rows = q.dim(0), heads = config_.num_heads, latent_dim = config_.kv_lora_rank;
  const std::int64_t nope = config_.qk_nope_head_dim, rope_dim = config_.qk_rope_head_dim, v_dim = config_.v_head_dim;
  const Tensor cache_row = ctx.empty({num_rows, latent_dim + rope_dim});
  ctx.ops.concat_columns(cache_row, latent.c_kv, latent.k_pe, ctx.compute);
  ctx.ops.scatter_rows(cache.k, cache_row, rows.cache_rows_R, ctx.compute);

  // q . k = q_nope . (W_UK c_kv) + q_pe . k_pe = (W_UK^T q_nope) . c_kv + q_pe . k_pe
  const Tensor q_nope = ctx.empty({num_rows * heads, nope});
  const Tensor q_pe = ctx.empty({num_rows * heads, rope_dim});
  ctx.ops.split_columns(q_nope, q_pe, q.reshaped({num_rows * heads, nope + rope_dim}), ctx.compute);
  const Tensor q_latent = ctx.empty({num_rows, heads * latent_dim});
  const Tensor& w_kv_b = w_kv_b_.weight().weight;
  ctx.ops.per_head_gemm(q_latent, q_nope.reshaped({num_rows, heads * nope}), w_kv_b, heads, nope + v_dim, 0, nope,
                        Transpose::yes, ctx.compute);
  const Tensor q_absorbed = ctx.empty({num_rows * heads, latent_dim + rope_dim});
  ctx.ops.concat_columns(q_absorbed, q_latent.reshaped({num_rows * heads, latent_dim}), q_pe, ctx.compute);

  const Tensor context = ctx.empty({num_rows, heads * latent_dim});
  ctx.ops.attention_cached(context, q_absorbed.reshaped({num_rows, heads * (latent_dim + rope_dim)}), cache.k, Tensor{},
                           rows.pages_SP, rows.slots_R, rows.lengths_R, cache.page_rows, absorbed_args(config_),
                           ctx.compute);
  Tensor o = ctx.empty({num_rows, heads * v_dim});
  ctx.ops.per_head_gemm(o, context, w_kv_b, heads, nope + v_dim, nope, v_dim, Transpose::no, ctx.compute);
  return o;
}

Tensor Mla::decode(ExecContext& ctx, const Tensor& x_RD, const DecodeRows& rows, LayerCache& cache) {
  Saved unused;
  Activation x(x_RD);
  const Latent latent = project_latent(ctx, x, rows.positions_R, unused);
  const Tensor q = project_query(ctx, x, rows.positions_R, unused);
  const Tensor o =
      cache.v.defined() ? attend_heads(ctx, q, latent, rows, cache) : attend_latents(ctx, q, latent, rows, cache);
  return ranks_.sum_scatter(ctx, w_o_.forward(ctx, o, unused.w_o));
}

void Mla::use_fp8(KeptInputs inputs) {
  for (std::optional<Linear>* linear : {&w_q_, &w_q_a_, &w_q_b_})
    if (*linear) (*linear)->use_fp8(inputs);
  for (Linear* linear : {&w_kv_a_, &w_kv_b_}) linear->use_fp8(inputs);
  w_o_.use_fp8(KeptInputs::numbers);
}

std::vector<Parameter*> Mla::parameters() {
  return parameters_of(w_q_, w_q_a_, q_norm_, w_q_b_, w_kv_a_, kv_norm_, w_kv_b_, w_o_);
}

}  // namespace athanor
