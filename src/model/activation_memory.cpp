#include "src/model/activation_memory.hpp"

#include <algorithm>
#include <vector>

#include "src/backend/operand_shapes.hpp"
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
  std::int64_t fused_peak = 0;     ///< most during its B
  std::int64_t fused_kept = 0;     ///< in B, before the W that is its last piece
  bool keeps_dy = false;           ///< until W

  /// W is that last piece whole.
  void set_fused() {
    fused_peak = backward_peak;
    fused_kept = weight_kept;
  }
};

/// The part of a block that lies between its norms.
struct Inner {
  Unit memory;            ///< without x, y, dx and the block's own tensors; backward_peak without dy
  bool keeps_dy = false;  ///< until W
};

class Sizes {
 public:
  Sizes(const ModelConfig& config, DType dtype, const LayoutSizes& layout, std::int64_t tokens, Recompute recompute)
      : c(config),
        layout_(layout),
        recompute_(recompute),
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

  /// FP8 by rows: a byte an element, a scale a tile.
  static std::int64_t fp8(std::int64_t rows, std::int64_t width) {
    return block(rows * width) + block(4 * rows * fp8_tiles(width));
  }
  /// What is kept of an input of linear maps, or of gate and up.
  std::int64_t kept(std::int64_t rows, std::int64_t width) const {
    return c.keeps_fp8() ? fp8(rows, width) : of(rows * width);
  }
  /// What stands beside it only because it is no longer kept itself, or while it is cut or made.
  std::int64_t beside(std::int64_t bytes) const { return c.keeps_fp8() ? bytes : 0; }
  /// In a feed-forward network's backward: gradients of hidden, gate and up, and hidden, in the last's place what is
  /// kept of it and of up, from which its numbers are made.
  std::int64_t making_hidden(std::int64_t inner, std::int64_t kept_inner) const {
    if (!c.keeps_fp8()) return 4 * inner;
    return selective() ? 4 * inner + kept_inner : 3 * inner + 2 * kept_inner;
  }
  /// The FP8 of what a product reads, gone after it.
  std::int64_t operand(std::int64_t rows, std::int64_t width) const { return c.fp8 ? fp8(rows, width) : 0; }

  /// An operand of the experts' weight gradients in FP8: columns, those of every expert from a whole tile on.
  std::int64_t turned_of_experts(std::int64_t pairs, std::int64_t width) const {
    const std::int64_t groups = c.num_routed_experts / layout_.ep;
    return c.fp8 ? fp8(width, (pairs + groups * (kFp8Tile - 1)) / kFp8Tile * kFp8Tile) : 0;
  }

  std::int64_t stream() const { return of(rows * c.dim); }  ///< one tensor of the residual stream
  std::int64_t rstd() const { return acc(rows); }
  /// A tensor of the query rows: what split linears read, gathered over tp. Without tp it is the shard itself.
  std::int64_t whole(std::int64_t width) const { return of(query_rows * width); }
  /// The same where it stands beside the shard; none without tp.
  std::int64_t gathered(std::int64_t width) const { return layout_.tp > 1 ? whole(width) : 0; }
  bool selective() const { return recompute_ == Recompute::selective; }
  /// What w_o and w_down keep of their dy: gathered, or the shard, which `owner` has.
  std::int64_t kept_dy(std::int64_t owner) const { return layout_.tp > 1 ? whole(c.dim) : owner; }

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
  /// Tokens by their rows in this rank's part of the vocabulary.
  std::int64_t own_tokens() const { return layout_.tp > 1 ? ids(query_rows) : 0; }
  Unit embedding_unit() const {
    Unit m{.forward_kept = own_tokens(),
           .weight_kept = own_tokens() + whole(c.dim),
           .forward_peak = own_tokens() + gathered(c.dim) + stream(),
           .backward_peak = own_tokens() + stream() + gathered(c.dim)};
    m.set_fused();
    return m;
  }
  Unit final_unit() const;
  Unit mtp_unit() const;

 private:
  const ModelConfig& c;
  LayoutSizes layout_;
  Recompute recompute_;
  std::int64_t type_, acc_;  ///< bytes of an element

 public:
  std::int64_t all_rows, query_rows, rows;
};

Inner Sizes::mla() const {
  const std::int64_t heads = c.num_heads / layout_.tp, latent = c.kv_lora_rank, rope = c.qk_rope_head_dim;
  const std::int64_t x = stream(), lse = acc(query_rows * heads);
  const std::int64_t q = whole(heads * c.qk_head_dim()), o = whole(heads * c.v_head_dim);
  const std::int64_t k = of(all_rows * heads * c.qk_head_dim()), v = of(all_rows * heads * c.v_head_dim);
  const std::int64_t kv = of(all_rows * heads * (c.qk_nope_head_dim + c.v_head_dim));
  const std::int64_t c_kv = of(rows * latent), kv_a = of(rows * (latent + rope));
  const std::int64_t all_c_kv = of(all_rows * latent), all_k_pe = of(all_rows * rope);
  const bool has_c_q = c.q_lora_rank > 0, travels = all_rows > rows;
  const std::int64_t c_q = has_c_q ? of(rows * c.q_lora_rank) : 0, kept_x = kept(rows, c.dim);
  // What q_norm and w_q_b read; beside x, which w_kv_a and w_q read; then kv_norm's and w_kv_b's.
  const std::int64_t kept_c_q = has_c_q ? kept(rows, c.q_lora_rank) : 0;
  const std::int64_t query_inputs = has_c_q ? c_q + kept_c_q + rstd() : 0;
  const std::int64_t inputs = kept_x + query_inputs + c_kv + rstd() + kept(all_rows, latent);
  // In backward what the query is made of stands there whole, in place of a latent's rows or beside those of x.
  const std::int64_t query_width = has_c_q ? c.q_lora_rank : c.dim, query_gathered = gathered(query_width);
  const std::int64_t x_again = layout_.tp > 1 ? kept(query_rows, query_width) - kept_c_q : 0;

  Inner out;
  Unit& m = out.memory;
  const std::int64_t all_kept = inputs + q + k + v + o + lse;
  m.forward_kept = selective() ? inputs + all_k_pe + o + lse : all_kept;
  m.forward_peak =
      beside(x) + std::max({kept_x + query_inputs + beside(c_q) + query_gathered + q,
                            inputs + beside(all_c_kv) + q + k + v + kv + all_k_pe,
                            all_kept + all_k_pe + gathered(c.dim) + x + operand(query_rows, heads * c.v_head_dim)});
  const std::int64_t dh = x, dh_all = gathered(c.dim), dkv = kv;
  const std::int64_t in_attention = all_kept + x_again + dh + dh_all + o + q + k + v;
  // q, k, v and the log-sum-exp are gone, dq is there.
  const std::int64_t after = inputs + x_again + o + dh + dh_all + q + dkv;
  const std::int64_t assembling = after + k + v + all_k_pe;
  // Gradients of the latents, joined, put in order and summed over ranks.
  const std::int64_t joined = of(all_rows * (latent + rope));
  const std::int64_t joining =
      travels ? after + all_c_kv + all_k_pe + (layout_.cp > 1 ? 2 : 1) * joined + whole(latent + rope) : 0;
  const std::int64_t latents_back = 2 * c_kv + kv_a + 2 * c_q;
  const std::int64_t query_back = has_c_q ? gathered(c.q_lora_rank) : gathered(c.dim) + (dh_all > 0 ? x : 0);
  const std::int64_t at_end =
      after + of(rows * rope) + latents_back + x + query_back + operand(query_rows, heads * c.qk_head_dim());
  m.backward_peak = std::max({in_attention, assembling, joining, at_end});
  m.weight_kept = inputs + x_again + o + kept_dy(dh) + q + dkv + latents_back - c_kv;
  return out;
}

Inner Sizes::gqa() const {
  const std::int64_t heads = c.num_heads / layout_.tp, kv_heads = c.num_kv_heads / layout_.tp;
  const std::int64_t x = stream(), kept_x = kept(rows, c.dim), x_again = kept(query_rows, c.dim);
  const std::int64_t lse = acc(query_rows * heads), q = whole(heads * c.head_dim),
                     kv = of(all_rows * kv_heads * c.head_dim);
  const std::int64_t own_k = whole(kv_heads * c.head_dim), ordering = layout_.cp > 1 ? kv : 0;
  // With norms of the heads: their inputs and statistics; in backward the gradients on both sides.
  const std::int64_t norm_inputs =
      c.qk_norm ? q + own_k + acc(query_rows * heads) + acc(query_rows * kv_heads) : std::int64_t{0};
  const std::int64_t norm_gradients = c.qk_norm ? q + own_k : 0;

  Inner out;
  Unit& m = out.memory;
  const std::int64_t all_kept = norm_inputs + 2 * q + 2 * kv + lse;  // beside x
  m.forward_kept = selective() ? kept_x + q + lse : kept_x + all_kept;
  m.forward_peak = kept_x + beside(x) +
                   std::max(gathered(c.dim) + norm_inputs + q + 2 * kv + ordering,
                            all_kept + gathered(c.dim) + x + operand(query_rows, heads * c.head_dim));
  const std::int64_t dh = x, dh_all = gathered(c.dim);
  const std::int64_t in_attention = x_again + all_kept + dh + dh_all + 2 * q + 2 * kv;
  const std::int64_t scattering = x_again + norm_inputs + q + dh + dh_all + q + 2 * kv + ordering + own_k;
  m.weight_kept = x_again + norm_inputs + q + kept_dy(dh) + q + 2 * own_k + norm_gradients;
  m.backward_peak =
      std::max({in_attention, ordering > 0 ? scattering : 0,
                m.weight_kept + x + (dh_all > 0 ? dh + dh_all : 0) + operand(query_rows, heads * c.head_dim)});
  return out;
}

Inner Sizes::ffn() const {
  const std::int64_t width = c.inter_dim / layout_.tp, inner = whole(width), kept_inner = kept(query_rows, width);
  const std::int64_t x = stream(), kept_x = kept(rows, c.dim), x_again = kept(query_rows, c.dim);
  const std::int64_t dy_all = gathered(c.dim), partial = gathered(c.dim), rounded = operand(query_rows, width);
  Inner out{.memory = {}, .keeps_dy = layout_.tp == 1};
  Unit& m = out.memory;
  m.forward_kept = kept_x + (selective() ? 2 : 3) * kept_inner;
  // Gate, up and hidden; what is kept of the first two is there while the numbers are, or in their place.
  const std::int64_t outer = kept_x + 2 * kept_inner + inner + rounded + x + partial;
  m.forward_peak = std::max(outer, beside(x + gathered(c.dim) + kept_x + 3 * inner + 2 * kept_inner));
  const std::int64_t hidden_back = kept_x + making_hidden(inner, kept_inner);
  m.backward_peak = dy_all + std::max(hidden_back, x_again + 2 * inner + kept_inner + x + partial + rounded);
  m.weight_kept = x_again + 2 * inner + kept_inner + dy_all;
  m.set_fused();
  return out;
}

Inner Sizes::moe() const {
  const std::int64_t pairs = rows * c.experts_per_token, experts = c.num_routed_experts;
  const std::int64_t x = stream(), x_acc = has_separate_acc() ? acc(rows * c.dim) : 0;
  const std::int64_t scores = acc(rows * experts);
  const std::int64_t dscores = c.balance_loss_alpha != 0.0 ? scores : 0;
  // The balance loss looks at whole sequences.
  const std::int64_t balancing = dscores > 0 && all_rows > rows ? 2 * acc(all_rows * experts) : 0;
  const std::int64_t weights = acc(pairs), chosen = ids(pairs);
  // Order of the pairs and back; where rows travel also that of the arrivals and back, and a buffer to send from.
  const bool travels = layout_.ep > 1;
  const std::int64_t handle = (travels ? 4 : 2) * ids(pairs), offsets = ids(experts / layout_.ep + 1);
  const std::int64_t row = of(pairs * c.dim), inner = of(pairs * c.moe_inter_dim), travelling = travels ? row : 0;
  // Rows that came as FP8 stay so, forward and backward.
  const std::int64_t fp8_row = fp8(pairs, c.dim), kept_row = c.dispatches_fp8() ? fp8_row : kept(pairs, c.dim);
  const std::int64_t dy_row = c.dispatches_fp8() ? fp8_row : row, number_row = c.dispatches_fp8() ? 0 : row;
  const std::int64_t kept_inner = kept(pairs, c.moe_inter_dim);
  const bool has_shared = c.num_shared_experts > 0;
  const std::int64_t width = c.num_shared_experts * c.moe_inter_dim / layout_.tp;
  const std::int64_t shared = has_shared ? whole(width) : 0, kept_shared = has_shared ? kept(query_rows, width) : 0;
  // The router keeps x as it is; so does the shared expert, its rows until I, gathered until W, or in FP8 of its own.
  const std::int64_t input = x + (has_shared ? beside(kept(rows, c.dim)) : 0);
  const std::int64_t x_again = has_shared && (layout_.tp > 1 || c.keeps_fp8()) ? kept(query_rows, c.dim) : 0;
  const std::int64_t dy_all = has_shared ? gathered(c.dim) : 0, partial = dy_all;

  Inner out{.memory = {}, .keeps_dy = has_shared && layout_.tp == 1};
  Unit& m = out.memory;
  const std::int64_t routed = input + scores + dscores + weights + chosen;
  const std::int64_t around = routed + handle + offsets + kept_row + row;  // all but what lies within the experts
  const std::int64_t inner_kept = (selective() ? 2 : 3) * kept_inner;
  m.forward_kept = around + inner_kept + (selective() ? 2 : 3) * kept_shared;
  const std::int64_t shared_inner = 2 * kept_shared + shared, rounded = operand(pairs, c.moe_inter_dim);
  m.forward_peak = std::max(
      {routed + std::max(x, x_acc) + scores + balancing, around + shared_inner + 2 * kept_inner + inner + rounded,
       beside(around + number_row + shared_inner + 3 * inner + 2 * kept_inner),
       around + inner_kept + shared_inner + operand(query_rows, width) + x + travelling + partial});
  // Behind I of the experts, and of the shared one: gradients of gate and up, and hidden.
  const std::int64_t inner_back = 2 * inner + kept_inner, shared_back = 2 * shared + kept_shared;
  const std::int64_t dweights = weights, all_kept = around - row + dy_row + inner_back + shared_back;
  const std::int64_t shared_backward = around + inner_kept + making_hidden(shared, kept_shared);
  const std::int64_t combining = around + inner_kept + shared_back + dweights + dy_row + (travels ? dy_row : 0);
  const std::int64_t in_experts = all_kept - weights + dweights + row + inner + rounded;  // y's rows went, dx's came
  // The shared expert's input is gathered again, and its gradient summed over ranks, while rows travel.
  const std::int64_t dispatching =
      all_kept - weights + dweights + row + x + travelling + partial + (partial > 0 ? x_again : 0);
  // x, dy; gate, up, hidden
  const std::int64_t kept_back = x + x_again + offsets + kept_row + dy_row + inner_back + shared_back;
  const std::int64_t routing = kept_back + scores + dscores + chosen + dweights + x + scores;
  const std::int64_t rounding = kept_back + dweights + x + scores + x_acc + (x_acc > 0 ? x : 0);
  m.backward_peak = dy_all + std::max({shared_backward, combining, in_experts, dispatching, routing, rounding});
  m.weight_kept = kept_back + scores + dy_all;
  // In B the experts' W follows at once, and the router's alone is left.
  const std::int64_t turned = turned_of_experts(pairs, c.dim) + turned_of_experts(pairs, c.moe_inter_dim);
  const std::int64_t weighting =
      all_kept - weights + dweights + row + x + travelling + (partial > 0 ? x_again : 0) + turned;
  m.fused_peak = dy_all + std::max({shared_backward, combining, in_experts, dispatching, weighting});
  m.fused_kept = x + scores;
  return out;
}

Unit Sizes::block_of(const Inner& attention, const Inner& feed_forward) const {
  const Unit &a = attention.memory, &f = feed_forward.memory;
  const std::int64_t x = stream(), input = x + rstd();  // of either norm
  const std::int64_t dy = x, dnormed = x, dh = x;       // dh is the attention's dy
  Unit m;
  m.forward_kept = 2 * input + a.forward_kept + f.forward_kept;
  m.forward_peak = std::max(input + a.forward_peak, 2 * input + a.forward_kept + std::max(f.forward_peak, x));
  const std::int64_t outside_ffn = 2 * input + a.forward_kept + dy;
  const auto peak = [&](std::int64_t ffn_peak, std::int64_t ffn_kept) {
    const std::int64_t around_attention = 2 * input + ffn_kept + dnormed + dy;
    return std::max({outside_ffn + ffn_peak, outside_ffn + ffn_kept + dnormed + dh, around_attention + a.backward_peak,
                     around_attention + a.weight_kept + dnormed + x});
  };
  m.backward_peak = peak(f.backward_peak, f.weight_kept);
  m.fused_peak = peak(f.fused_peak, f.fused_kept);
  const std::int64_t kept_beside_ffn = 2 * input + dnormed + (feed_forward.keeps_dy ? dy : 0) + a.weight_kept + dnormed;
  m.weight_kept = kept_beside_ffn + f.weight_kept;
  m.fused_kept = kept_beside_ffn + f.fused_kept;
  m.keeps_dy = feed_forward.keeps_dy;
  if (recompute_ == Recompute::full) {
    m.forward_kept = x;
    m.backward_peak = std::max(m.backward_peak, dy + m.forward_peak);
    m.fused_peak = std::max(m.fused_peak, dy + m.forward_peak);
  }
  return m;
}

std::int64_t Sizes::loss_transient() const {
  if (c.head == HeadKind::scalar) {  // values and their gradient; the state and its gradient in the accumulation type
    const std::int64_t converted = has_separate_acc() ? 2 * acc(rows * c.dim) : 0;
    return 2 * acc(query_rows) + (layout_.tp > 1 ? acc(rows) : 0) + converted;
  }
  const std::int64_t vocab = c.vocab_size / layout_.tp;
  const std::int64_t logits = std::min(TokenCrossEntropy::chunk_rows(vocab), query_rows) * vocab;
  return acc(logits) + (has_separate_acc() ? of(logits) : 0) + acc(query_rows) + 2 * gathered(c.dim);
}

Unit Sizes::final_unit() const {
  Unit m;
  m.forward_kept = m.weight_kept = stream() + rstd() + stream();  // input; gradient of the state
  m.forward_peak = m.forward_kept + stream() + loss_transient();
  m.backward_peak = m.forward_kept + stream() + (c.mtp_depth > 0 ? stream() : 0);
  m.set_fused();
  return m;
}

Unit Sizes::mtp_unit() const {
  const Unit b = block_unit(c.num_routed_experts > 0);
  const std::int64_t x = stream(), joined = of(rows * 2 * c.dim);
  // Embedding's rows, previous state, joined; output and gradient of the module's own state.
  const std::int64_t before = own_tokens() + 2 * x + 2 * rstd() + joined, after = 2 * x + rstd();
  Unit m;
  m.forward_kept = before + b.forward_kept + after;
  m.forward_peak = std::max({before + 2 * x, before + b.forward_peak, m.forward_kept + x + loss_transient()});
  const std::int64_t gradients = 3 * x + whole(c.dim);  // dy of eh_proj, both norms; the embedding's
  m.weight_kept = before + b.weight_kept + after + gradients;
  m.fused_kept = before + b.fused_kept + after + gradients;
  m.backward_peak = std::max(before + after + b.backward_peak, m.weight_kept + joined + x);
  m.fused_peak = std::max(before + after + b.fused_peak, m.fused_kept + joined + x);
  return m;
}

}  // namespace

ActivationMemory activation_memory(const ModelConfig& config, DType dtype, const ModelPart& part,
                                   const LayoutSizes& sizes, std::int64_t tokens, Recompute recompute) {
  const Sizes s(config, dtype, sizes, tokens, recompute);
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
    memory.forward_highest = std::max(memory.forward_highest, alive + unit.forward_peak);
    alive += unit.forward_kept;
  }
  memory.forward_kept = alive;
  if (!part.has_head) memory.forward_highest = std::max(memory.forward_highest, alive + s.stream());  // what it makes
  // The gradient that the chunk was given stands there until its I is done.
  const std::int64_t dy = !part.has_head && !chain.back().keeps_dy ? s.stream() : 0;
  for (auto unit = chain.rbegin(); unit != chain.rend(); ++unit) {
    const std::int64_t given = unit == chain.rbegin() ? 0 : dy;
    memory.backward_highest =
        std::max(memory.backward_highest, alive + given - unit->forward_kept + unit->backward_peak);
    alive += unit->weight_kept - unit->forward_kept;
  }
  std::int64_t before = memory.forward_kept;
  for (auto unit = chain.rbegin(); unit != chain.rend(); ++unit) {
    before -= unit->forward_kept;
    memory.fused_highest = std::max(memory.fused_highest, before + unit->fused_peak);
  }
  memory.weight_kept = alive;
  memory.message = s.stream();
  return memory;
}

}  // namespace athanor
