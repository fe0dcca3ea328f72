#include "src/model/activation_memory.hpp"

#include <algorithm>
#include <vector>

#include "src/backend/storage.hpp"
#include "src/loss/token_cross_entropy.hpp"

namespace athanor {
namespace {

/// One step of the chain that a micro-batch runs along.
struct Unit {
  std::int64_t forward_kept = 0;   ///< by this unit, between its F and its I
  std::int64_t weight_kept = 0;    ///< between its I and its W
  std::int64_t forward_peak = 0;   ///< most during its F, what it keeps included
  std::int64_t backward_peak = 0;  ///< most during its I, what it keeps and its dy included
};

/// The part of a block that lies between its norms.
struct Inner {
  Unit memory;            ///< without x, y, dx and the block's own tensors; backward_peak without dy
  bool keeps_dy = false;  ///< until W
};

class Sizes {
 public:
  Sizes(const ModelConfig& config, DType dtype, const LayoutSizes& layout, std::int64_t tokens)
      : c(config),
        layout_(layout),
        type_(static_cast<std::int64_t>(size_bytes(dtype))),
        acc_(static_cast<std::int64_t>(size_bytes(accumulation_dtype(dtype)))),
        all_rows(tokens),
        query_rows(tokens / layout.cp),
        rows(tokens / (layout.cp * layout.tp)) {}

  static std::int64_t block(std::int64_t bytes) {
    return bytes == 0 ? 0 : static_cast<std::int64_t>(Arena::block_bytes(static_cast<std::size_t>(bytes)));
  }
  std::int64_t of(std::int64_t numel) const { return block(numel * type_); }
  std::int64_t acc(std::int64_t numel) const { return block(numel * acc_); }
  static std::int64_t ids(std::int64_t numel) { return block(numel * 4); }
  bool has_separate_acc() const { return type_ != acc_; }

  std::int64_t stream() const { return of(rows * c.dim); }  ///< one tensor of the residual stream
  std::int64_t rstd() const { return acc(rows); }
  /// A tensor of width `dim` gathered over tp before a split linear; none without tp.
  std::int64_t gathered(std::int64_t width) const { return layout_.tp > 1 ? of(query_rows * width) : 0; }

  Inner mla() const;
  Inner gqa() const;
  Inner ffn() const;
  Inner moe() const;
  Unit block_of(const Inner& attention, const Inner& feed_forward) const;
  Unit block_unit(bool is_moe) const {
    return block_of(c.attention == AttentionKind::mla ? mla() : gqa(), is_moe ? moe() : ffn());
  }
  /// Beyond the state after the final norm and its gradient.
  std::int64_t loss_transient() const;
  Unit embedding_unit() const { return {.weight_kept = stream(), .backward_peak = stream()}; }
  Unit final_unit() const;
  Unit mtp_unit() const;

 private:
  const ModelConfig& c;
  LayoutSizes layout_;
  std::int64_t type_, acc_;  ///< bytes of an element

 public:
  std::int64_t all_rows, query_rows, rows;
};

Inner Sizes::mla() const {
  const std::int64_t heads = c.num_heads / layout_.tp, latent = c.kv_lora_rank, rope = c.qk_rope_head_dim;
  const std::int64_t x = stream(), lse = acc(query_rows * heads);
  const std::int64_t q = of(query_rows * heads * c.qk_head_dim()), o = of(query_rows * heads * c.v_head_dim);
  const std::int64_t k = of(all_rows * heads * c.qk_head_dim()), v = of(all_rows * heads * c.v_head_dim);
  const std::int64_t kv = of(all_rows * heads * (c.qk_nope_head_dim + c.v_head_dim));
  const std::int64_t c_kv = of(rows * latent), k_pe = of(rows * rope), kv_a = of(rows * (latent + rope));
  const std::int64_t c_q = c.q_lora_rank > 0 ? of(rows * c.q_lora_rank) : 0, q_rstd = c_q > 0 ? rstd() : 0;
  // The latents of all tokens, gathered over cp and tp, and the gathered query latent.
  const std::int64_t all_latents = all_rows > rows ? of(all_rows * (latent + rope)) : 0;
  const std::int64_t inputs = x + 2 * c_q + q_rstd + 2 * c_kv + rstd();

  Inner out;
  Unit& m = out.memory;
  m.forward_kept = inputs + q + k + v + o + lse;
  m.forward_peak = std::max(inputs + q + k + v + kv + k_pe + all_latents, m.forward_kept + k_pe + x);
  const std::int64_t dh = x, dkv = kv;
  const std::int64_t in_attention = m.forward_kept + dh + o + q + k + v + gathered(c.dim);
  const std::int64_t assembling = inputs + o + dh + q + k + v + dkv + k_pe + all_latents;
  const std::int64_t latents_back = 2 * c_kv + kv_a + 2 * c_q;
  const std::int64_t at_end = inputs + o + dh + q + dkv + k_pe + latents_back + x + all_latents;
  m.backward_peak = std::max({in_attention, assembling, at_end});
  m.weight_kept = inputs + o + dh + q + dkv + latents_back - c_kv;
  return out;
}

Inner Sizes::gqa() const {
  const std::int64_t heads = c.num_heads / layout_.tp, kv_heads = c.num_kv_heads / layout_.tp;
  const std::int64_t x = stream(), lse = acc(query_rows * heads);
  const std::int64_t q = of(query_rows * heads * c.head_dim), kv = of(all_rows * kv_heads * c.head_dim);
  const std::int64_t own_k = of(query_rows * kv_heads * c.head_dim);
  // With norms of the heads: their inputs and statistics; in backward the gradients on both sides.
  const std::int64_t norm_inputs =
      c.qk_norm ? q + own_k + acc(query_rows * heads) + acc(query_rows * kv_heads) : std::int64_t{0};
  const std::int64_t norm_gradients = c.qk_norm ? q + own_k : 0;

  Inner out;
  Unit& m = out.memory;
  m.forward_kept = x + norm_inputs + 2 * q + 2 * kv + lse;
  m.forward_peak = m.forward_kept + x + gathered(c.dim);
  const std::int64_t dh = x;
  const std::int64_t in_attention = m.forward_kept + dh + 2 * q + 2 * kv + gathered(c.dim);
  m.weight_kept = x + norm_inputs + q + dh + q + 2 * kv + norm_gradients;
  m.backward_peak = std::max(in_attention, m.weight_kept + x + gathered(c.dim));
  return out;
}

Inner Sizes::ffn() const {
  const std::int64_t inner = of(query_rows * (c.inter_dim / layout_.tp)), x = stream();
  Inner out{.memory = {}, .keeps_dy = true};
  out.memory.forward_kept = out.memory.weight_kept = 3 * inner;
  out.memory.forward_peak = 3 * inner + x + gathered(c.dim);
  out.memory.backward_peak = std::max(4 * inner, 3 * inner + x) + gathered(c.dim);
  return out;
}

Inner Sizes::moe() const {
  const std::int64_t pairs = rows * c.experts_per_token, experts = c.num_routed_experts;
  const std::int64_t x = stream(), x_acc = has_separate_acc() ? acc(rows * c.dim) : 0;
  const std::int64_t scores = acc(rows * experts), dscores = c.balance_loss_alpha != 0.0 ? scores : 0;
  const std::int64_t weights = acc(pairs), chosen = ids(pairs);
  // Order of the pairs and back; where rows travel also that of the arrivals and back, and a buffer to send from.
  const bool travels = layout_.ep > 1;
  const std::int64_t handle = (travels ? 4 : 2) * ids(pairs), offsets = ids(experts / layout_.ep + 1);
  const std::int64_t row = of(pairs * c.dim), inner = of(pairs * c.moe_inter_dim), travelling = travels ? row : 0;
  const std::int64_t shared =
      c.num_shared_experts > 0 ? of(query_rows * (c.num_shared_experts * c.moe_inter_dim / layout_.tp)) : 0;
  const std::int64_t gather = shared > 0 ? gathered(c.dim) : 0;

  Inner out{.memory = {}, .keeps_dy = shared > 0};
  Unit& m = out.memory;
  const std::int64_t routed = x_acc + scores + dscores + weights + chosen;
  m.forward_kept = routed + handle + offsets + 2 * row + 3 * inner + 3 * shared;
  m.forward_peak = std::max(routed + scores, m.forward_kept + x + std::max(travelling, gather));
  const std::int64_t dweights = weights;
  const std::int64_t combining = m.forward_kept + dweights + row + travelling;
  const std::int64_t in_experts = m.forward_kept - weights + dweights + row + inner;  // y's rows went, dx's came
  const std::int64_t dispatching = m.forward_kept - weights + dweights + row + x + travelling;
  const std::int64_t kept = x_acc + offsets + 2 * row + 3 * inner + 3 * shared;  // x, dy; gate, up, hidden
  const std::int64_t routing = kept + scores + dscores + chosen + dweights + x + scores + gather;
  const std::int64_t rounding = kept + dweights + x + scores + x_acc + (x_acc > 0 ? x : 0);
  m.backward_peak = std::max({m.forward_kept + shared + gather, combining, in_experts, dispatching, routing, rounding});
  m.weight_kept = kept + scores;
  return out;
}

Unit Sizes::block_of(const Inner& attention, const Inner& feed_forward) const {
  const Unit &a = attention.memory, &f = feed_forward.memory;
  const std::int64_t x = stream();
  const std::int64_t first = x + rstd();           // block input
  const std::int64_t second = x + rstd() + x;      // after attention, and normed
  const std::int64_t dy = x, dnormed = x, dh = x;  // dh is the attention's dy
  Unit m;
  m.forward_kept = first + a.forward_kept + second + f.forward_kept;
  m.forward_peak =
      std::max(first + a.forward_peak, first + a.forward_kept + second + std::max(f.forward_peak, f.forward_kept));
  const std::int64_t outside_ffn = first + a.forward_kept + second;
  const std::int64_t kept_ffn = second + f.weight_kept + (feed_forward.keeps_dy ? dy : 0) + dnormed;
  const std::int64_t dy_alive = feed_forward.keeps_dy ? 0 : dy;  // by the caller, until the block returns
  m.backward_peak = std::max({outside_ffn + dy + f.backward_peak, outside_ffn + dy + f.weight_kept + dnormed + dh,
                              first + kept_ffn + dy_alive + a.backward_peak,
                              first + kept_ffn + dy_alive + a.weight_kept + dnormed + x});
  m.weight_kept = first + kept_ffn + a.weight_kept + dnormed;
  return m;
}

std::int64_t Sizes::loss_transient() const {
  const std::int64_t vocab = c.vocab_size / layout_.tp;
  const std::int64_t logits = std::min(TokenCrossEntropy::chunk_rows(vocab), query_rows) * vocab;
  return acc(logits) + (has_separate_acc() ? of(logits) : 0) + acc(query_rows) + 2 * gathered(c.dim);
}

Unit Sizes::final_unit() const {
  Unit m;
  m.forward_kept = m.weight_kept = stream() + rstd() + stream();  // input; gradient of the state
  m.forward_peak = m.forward_kept + stream() + loss_transient();
  m.backward_peak = m.forward_kept + stream() + (c.mtp_depth > 0 ? stream() : 0);
  return m;
}

Unit Sizes::mtp_unit() const {
  const Unit b = block_unit(c.num_routed_experts > 0);
  const std::int64_t x = stream(), joined = of(rows * 2 * c.dim);
  // Embedding's rows, previous state, joined; output and gradient of the module's own state.
  const std::int64_t before = 2 * x + 2 * rstd() + joined, after = 2 * x + rstd();
  Unit m;
  m.forward_kept = before + b.forward_kept + after;
  m.forward_peak = std::max({before + 2 * x, before + b.forward_peak, m.forward_kept + x + loss_transient()});
  m.weight_kept = before + b.weight_kept + after + 4 * x;  // dy of eh_proj, both norms and the embedding
  m.backward_peak = std::max(before + after + b.backward_peak, m.weight_kept + joined + x);
  return m;
}

}  // namespace

ActivationMemory activation_memory(const ModelConfig& config, DType dtype, const ModelPart& part,
                                   const LayoutSizes& sizes, std::int64_t tokens) {
  const Sizes s(config, dtype, sizes, tokens);
  std::vector<Unit> chain;
  if (part.has_embedding) chain.push_back(s.embedding_unit());
  for (std::int64_t layer = part.layer_begin; layer < part.layer_end; ++layer)
    chain.push_back(s.block_unit(config.is_moe_layer(layer)));
  if (part.has_head) {
    chain.push_back(s.final_unit());
    for (std::int64_t module = 0; module < config.mtp_depth; ++module) chain.push_back(s.mtp_unit());
  }

  ActivationMemory memory;
  std::int64_t alive = 0;
  for (const Unit& unit : chain) {
    memory.highest = std::max(memory.highest, alive + unit.forward_peak);
    alive += unit.forward_kept;
  }
  memory.forward_kept = alive;
  if (!part.has_head) memory.highest = std::max(memory.highest, alive + s.stream());  // until it is sent
  for (auto unit = chain.rbegin(); unit != chain.rend(); ++unit) {
    memory.highest = std::max(memory.highest, alive - unit->forward_kept + unit->backward_peak);
    alive += unit->weight_kept - unit->forward_kept;
  }
  memory.weight_kept = alive;
  return memory;
}

}  // namespace athanor
