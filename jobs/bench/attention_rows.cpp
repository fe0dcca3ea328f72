// Rows of OperationBench: attention in training, and what a step of generation is made of.
#include <cmath>
#include <vector>

#include "jobs/bench/operation_bench.hpp"

namespace athanor {

/// One sequence of T tokens, causal.
void OperationBench::attention(const std::string& name, std::int64_t kv_heads, std::int64_t qk_dim,
                               std::int64_t v_dim) {
  const Tensor q = numbers({s_.T, s_.H * qk_dim}), k = numbers({s_.T, kv_heads * qk_dim});
  const Tensor v = numbers({s_.T, kv_heads * v_dim}), d_o = numbers({s_.T, s_.H * v_dim});
  const Tensor o = ops_.empty(d_o.shape(), dtype_), dq = ops_.empty(q.shape(), dtype_);
  const Tensor dk = ops_.empty(k.shape(), dtype_), dv = ops_.empty(v.shape(), dtype_);
  const Tensor lse_TH = ops_.empty({s_.T, s_.H}, acc_), key_begin_T = ops_.empty({s_.T}, DType::i32);
  ops_.fill(key_begin_T, 0.0, stream_);
  const AttentionArgs args{.num_heads = s_.H,
                           .num_kv_heads = kv_heads,
                           .qk_dim = qk_dim,
                           .v_dim = v_dim,
                           .scale = 1 / std::sqrt(static_cast<double>(qk_dim))};
  // A score is a product of Q entries and weighs V; backward makes three products of Q and two of V. Half of [T, T].
  const std::int64_t scores = s_.T * s_.T * s_.H;
  computes(name + " forward", scores * (qk_dim + v_dim),
           [&] { ops_.attention_forward(o, lse_TH, q, k, v, key_begin_T, Tensor{}, args, stream_); });
  computes(name + " backward", scores * (3 * qk_dim + 2 * v_dim),
           [&] { ops_.attention_backward(dq, dk, dv, d_o, q, k, v, o, lse_TH, key_begin_T, Tensor{}, args, stream_); });
}

/// A new token of each of B sequences against C tokens in a paged cache. Absorbed MLA: one key head, the value being
/// the front of the key.
void OperationBench::decode_attention(const std::string& name, std::int64_t heads, std::int64_t kv_heads,
                                      std::int64_t qk_dim, std::int64_t v_dim, bool absorbed) {
  constexpr std::int64_t kPageRows = 16;  // rl.page_tokens' default
  const Tensor q = numbers({s_.B, heads * qk_dim}), o = ops_.empty({s_.B, heads * v_dim}, dtype_);
  const Tensor k = numbers({s_.B * s_.C, kv_heads * qk_dim});
  const Tensor v = absorbed ? Tensor{} : numbers({s_.B * s_.C, kv_heads * v_dim});
  const std::int64_t pages = s_.C / kPageRows;
  // Pages of the sequences in turn, as sequences that grow side by side come to have them.
  std::vector<std::int32_t> page_table, slots;
  for (std::int64_t slot = 0; slot < s_.B; ++slot) {
    slots.push_back(static_cast<std::int32_t>(slot));
    for (std::int64_t i = 0; i < pages; ++i) page_table.push_back(static_cast<std::int32_t>(i * s_.B + slot));
  }
  const Tensor pages_SP = ids(page_table).reshaped({s_.B, pages}), slots_R = ids(slots);
  const Tensor lengths_R = ops_.empty({s_.B}, DType::i32);
  ops_.fill(lengths_R, static_cast<double>(s_.C), stream_);
  const AttentionArgs args{.num_heads = heads,
                           .num_kv_heads = kv_heads,
                           .qk_dim = qk_dim,
                           .v_dim = v_dim,
                           .scale = 1 / std::sqrt(static_cast<double>(qk_dim))};
  const std::size_t bytes = k.bytes() + (absorbed ? 0 : v.bytes()) + q.bytes() + o.bytes();
  tell(
      name,
      {.flops = 2.0 * static_cast<double>(s_.B * s_.C * heads * (qk_dim + v_dim)), .bytes = static_cast<double>(bytes)},
      [&] { ops_.attention_cached(o, q, k, v, pages_SP, slots_R, lengths_R, kPageRows, args, stream_); });
}

/// Products of B rows: of a head, whose weights a step reads once, and of experts with a row or two each.
void OperationBench::decode_products() {
  const Tensor x_BD = numbers({s_.B, s_.D}), head_VD = numbers({s_.V, s_.D}), y_BV = ops_.empty({s_.B, s_.V}, dtype_);
  tell("decode, head",
       {.flops = 2.0 * static_cast<double>(s_.B * s_.D * s_.V),
        .bytes = static_cast<double>(x_BD.bytes() + head_VD.bytes() + y_BV.bytes())},
       [&] { ops_.gemm(y_BV, x_BD, Transpose::no, head_VD, Transpose::yes, false, stream_); });
  const std::int64_t inner = s_.F / 8;
  std::vector<std::int32_t> offsets;
  for (std::int64_t e = 0; e <= s_.E; ++e) offsets.push_back(static_cast<std::int32_t>(e * s_.B / s_.E));
  const Tensor offsets_E1 = ids(offsets);
  const Tensor w_EFD = numbers({s_.E, inner, s_.D}), y_BF = ops_.empty({s_.B, inner}, dtype_);
  std::int64_t experts_met = 0;
  for (std::size_t e = 0; e + 1 < offsets.size(); ++e) experts_met += offsets[e + 1] > offsets[e];
  tell("decode, experts",
       {.flops = 2.0 * static_cast<double>(s_.B * s_.D * inner),
        .bytes = static_cast<double>(w_EFD.bytes()) * static_cast<double>(experts_met) / static_cast<double>(s_.E) +
                 static_cast<double>(x_BD.bytes() + y_BF.bytes())},
       [&] { ops_.grouped_gemm(y_BF, x_BD, w_EFD, offsets_E1, stream_); });
}

/// A token from each row of logits: from all tokens, and from the likeliest ones.
void OperationBench::sampling() {
  const std::int64_t rows = 4 * s_.B;
  const Tensor logits_RV = numbers({rows, s_.V}), ids_R = ops_.empty({rows}, DType::i32);
  const Tensor logprobs_R = ops_.empty({rows}, acc_);
  std::vector<std::int64_t> keys;
  for (std::int64_t row = 0; row < rows; ++row) keys.push_back(row);
  const Tensor keys_R = upload_vector<std::int64_t>(ops_, keys, {rows}, stream_);
  const std::size_t bytes = logits_RV.bytes();
  moves("sampling", bytes, [&] { ops_.sample(ids_R, logprobs_R, logits_RV, keys_R, 1, {}, stream_); });
  moves("sampling, greedy", bytes,
        [&] { ops_.sample(ids_R, logprobs_R, logits_RV, keys_R, 1, {.temperature = 0.0}, stream_); });
  moves("sampling, top-p", bytes,
        [&] { ops_.sample(ids_R, logprobs_R, logits_RV, keys_R, 1, {.top_p = 0.95}, stream_); });
  moves("sampling, top-k", bytes,
        [&] { ops_.sample(ids_R, logprobs_R, logits_RV, keys_R, 1, {.top_k = 50}, stream_); });
}

}  // namespace athanor
