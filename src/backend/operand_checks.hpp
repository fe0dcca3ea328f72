// What operations ask of their operands, the same on every device. Law: a check looks at shapes and types alone, throws
// an Error that names the operation, what was wanted and what was found, and allocates nothing where it holds.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

#include "src/backend/backend.hpp"
#include "src/backend/operand_shapes.hpp"
#include "src/base/error.hpp"

namespace athanor {

/// @throws Error naming the operation, what was wanted and both tensors. A text that has to be put together is passed
/// as a callable.
template <class Wanted>
void require(bool holds, std::string_view op, const Wanted& wanted, const Tensor& a, const Tensor& b = {}) {
  if (holds) return;
  std::string text = std::string(op) + ": wanted ";
  if constexpr (std::is_invocable_v<Wanted>)
    text += wanted();
  else
    text += wanted;
  text += ", found " + a.to_string();
  if (b.defined()) text += " and " + b.to_string();
  throw Error(text);
}

inline bool is_ids(const Tensor& tensor, std::int64_t count) {
  return tensor.numel() == count && tensor.dtype() == DType::i32;
}
/// One number for each of `x`, all of its type.
void require_numbers(std::string_view op, const Tensor& x, std::initializer_list<const Tensor*> others);

void require_rope(std::string_view op, const Tensor& x_TC, const Tensor& positions_T, const Tensor& cos_PR,
                  const Tensor& sin_PR, const RopeArgs& args);
MlaWidths mla_widths(std::string_view op, const Tensor& k, const Tensor& v, const Tensor& kv, const Tensor& k_pe,
                     std::int64_t num_heads);
void require_attention(std::string_view op, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o,
                       const Tensor& lse_TH, const Tensor& key_begin_T, const Tensor& key_end_T,
                       const AttentionArgs& args);
void require_attention_cached(std::string_view op, const Tensor& o, const Tensor& q, const Tensor& k_cache,
                              const Tensor& v_cache, const Tensor& pages_SP, const Tensor& slots_R,
                              const Tensor& lengths_R, std::int64_t page_rows, const AttentionArgs& args);
void require_cache_rows(std::string_view op, const Tensor& rows_R, const Tensor& pages_SP, const Tensor& slots_R,
                        const Tensor& positions_R, const Tensor& lengths_R, std::int64_t page_rows);
void require_sampling_keys(std::string_view op, const Tensor& keys_R, const Tensor& prompts_R, const Tensor& siblings_R,
                           const Tensor& counts_R);
/// stop_ids_S may be undefined.
void require_advance_rows(std::string_view op, const WrittenRows& rows, const Tensor& tokens_NR,
                          const Tensor& logprobs_NR, const Tensor& step_1, const Tensor& ids_R,
                          const Tensor& logprobs_R, const Tensor& stop_ids_S);
/// What per_head_gemm multiplies of each head: columns of x and of y.
struct HeadProduct {
  std::int64_t in, out;
};
HeadProduct per_head_product(std::string_view op, const Tensor& y, const Tensor& x, const Tensor& w,
                             std::int64_t num_heads, std::int64_t stride, std::int64_t first, std::int64_t count,
                             Transpose transpose);
void require_routing(std::string_view op, const Tensor& scores_TE, const Tensor& expert_ids_TK,
                     const Tensor& weights_TK, const RouterArgs& args);
/// weights_TK may be undefined.
Unpermuted unpermuted(std::string_view op, const Tensor& y_TD, const Tensor& x_RD, const Tensor& row_of_TK,
                      const Tensor& weights_TK);
/// One loss and one weight a token, of the logits' accumulation type; a gradient, where there is one, like the logits.
void require_loss_rows(std::string_view op, const Tensor& losses_T, const Tensor& loss_weights_T,
                       const Tensor& logits_TV, const Tensor& dlogits_TV);
/// weight may be undefined.
void require_adamw(std::string_view op, const Tensor& weight, const Tensor& master, const Tensor& m, const Tensor& v,
                   const Tensor& grad, const AdamWArgs& args);

// ---- FP8. Each @returns where the scales lie, without their memory.
Fp8Scales require_fp8(std::string_view op, const Fp8Matrix& matrix);
/// x_TI by rows is `matrix`: into it, or of it.
Fp8Scales require_fp8_of_rows(std::string_view op, const Fp8Matrix& matrix, const Tensor& x_TI);
/// Into `out`: x_TI transposed, with room for the groups of offsets_E1 (may be undefined: one group).
Fp8Scales require_fp8_of_columns(std::string_view op, const Fp8Matrix& out, const Tensor& x_TI,
                                 const Tensor& offsets_E1);
/// From rows_TI, by rows, into `out`: the same transposed, as of require_fp8_of_columns.
struct Fp8Retiling {
  Fp8Scales out, from;
};
Fp8Retiling require_fp8_retiling(std::string_view op, const Fp8Matrix& out, const Fp8Matrix& rows_TI,
                                 const Tensor& offsets_E1);
/// Packed rows of `matrix`, by rows.
void require_packed_fp8(std::string_view op, const Tensor& packed_TP, const Fp8Matrix& matrix);
/// y_RD by rows: packed rows chosen by pairs.
void require_permuted_fp8(std::string_view op, const Fp8Matrix& y_RD, const Tensor& packed_TP, const Tensor& pair_of_R,
                          std::int64_t top_k);
/// As `unpermuted`, of packed gradients.
Unpermuted require_unpermuted_fp8(std::string_view op, const Fp8Matrix& dx_RD, const Tensor& dweights_TK,
                                  const Tensor& dy_TP, const Tensor& x_RD, const Tensor& row_of_TK,
                                  const Tensor& weights_TK);
/// Into `out`: w or each of its matrices transposed.
Fp8Scales require_fp8_of_blocks(std::string_view op, const Fp8Matrix& out, const Tensor& w, Transpose transpose);
/// y = a * b^T: a by rows, a depth in common, y f32 or bf16 of the rows of both; b [N, K], or [E, N, K] with offsets.
void require_fp8_product(std::string_view op, const Tensor& y, const Fp8Matrix& a, const Fp8Matrix& b,
                         const Tensor& offsets_E1);
/// dw_EMN[e] += a_MS * b_NS^T.
void require_fp8_weight_product(std::string_view op, const Tensor& dw_EMN, const Fp8Matrix& a, const Fp8Matrix& b,
                                const Tensor& offsets_E1);

}  // namespace athanor
