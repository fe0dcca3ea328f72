// The naive reference of every operation of src/backend/backend.hpp: obvious loops in f64 on std::vector, written from
// the formulas alone. Law: clarity over speed, and no code shared with a back end, so that both can only be wrong in
// different ways. Itself checked by hand-worked cases (tests/src/backend/reference_test.cpp).
//
// Matrices are row-major; widths are passed, the number of rows follows from the size. Legend as in backend.hpp.
#pragma once

#include <cstdint>
#include <vector>

#include "src/backend/backend.hpp"

namespace athanor::reference {

using Values = std::vector<double>;
using Ids = std::vector<std::int32_t>;

// ---- memory
Values gather_rows(const Values& src_ND, const Ids& ids_R, std::int64_t width);
Values scatter_rows(Values dst_ND, const Values& src_RD, const Ids& ids_R, std::int64_t width);
Values scatter_add_rows(Values dst_ND, const Values& src_RD, const Ids& ids_R, std::int64_t width);
Values concat_columns(const Values& a_TA, std::int64_t a_width, const Values& b_TB, std::int64_t b_width);
struct Columns {
  Values a, b;
};
Columns split_columns(const Values& in, std::int64_t a_width, std::int64_t b_width);

// ---- elementwise
Values add(const Values& a, const Values& b);
Values scale(Values x, double factor);
Values add_bias(Values x_TO, const Values& b_O);
Values bias_backward(Values db_O, const Values& dy_TO);
Values swiglu_forward(const Values& gate, const Values& up);
struct SwigluGradient {
  Values dgate, dup;
};
SwigluGradient swiglu_backward(const Values& dy, const Values& gate, const Values& up);

// ---- matrix products
/// op(a) [m,k] * op(b) [k,n].
Values gemm(const Values& a, Transpose transpose_a, const Values& b, Transpose transpose_b, std::int64_t m,
            std::int64_t n, std::int64_t k);
Values grouped_gemm(const Values& x_RI, const Values& w_EOI, const Ids& offsets_E1, std::int64_t out, std::int64_t in);
Values grouped_gemm_backward_input(const Values& dy_RO, const Values& w_EOI, const Ids& offsets_E1, std::int64_t out,
                                   std::int64_t in);
/// The product alone, to be added to dw.
Values grouped_gemm_backward_weight(const Values& dy_RO, const Values& x_RI, const Ids& offsets_E1, std::int64_t out,
                                    std::int64_t in);
Values per_head_gemm(const Values& x, const Values& w, std::int64_t num_heads, std::int64_t stride, std::int64_t first,
                     std::int64_t count, std::int64_t w_columns, Transpose transpose);

// ---- normalisation, rotary embedding
struct Normed {
  Values y, rstd_T;
};
Normed rms_norm_forward(const Values& x_TD, const Values& w_D, double eps);
/// Gradient of the norm alone, without a residual.
Values rms_norm_backward_input(const Values& dy_TD, const Values& x_TD, const Values& w_D, double eps);
Values rms_norm_backward_weight(const Values& dy_TD, const Values& x_TD, std::int64_t width, double eps);
Values rope(Values x_TC, const Ids& positions_T, const Values& cos_PR, const Values& sin_PR, const RopeArgs& args);

// ---- attention (reference_attention.cpp)
struct KeysValues {
  Values k, v;
};
/// kv_T(H*(nope+value)), k_pe_T(rope).
KeysValues mla_assemble_kv(const Values& kv, const Values& k_pe, std::int64_t num_heads, std::int64_t nope,
                           std::int64_t rope, std::int64_t value);
struct KeysValuesGradient {
  Values dkv, dk_pe;
};
KeysValuesGradient mla_assemble_kv_backward(const Values& dk, const Values& dv, std::int64_t num_heads,
                                            std::int64_t nope, std::int64_t rope, std::int64_t value);
struct Attended {
  Values o, lse_TH;
};
Attended attention_forward(const Values& q, const Values& k, const Values& v, const Ids& key_begin_T,
                           const AttentionArgs& args);
struct AttentionGradient {
  Values dq, dk, dv;
};
AttentionGradient attention_backward(const Values& d_o, const Values& q, const Values& k, const Values& v,
                                     const Ids& key_begin_T, const AttentionArgs& args);
Ids cache_rows(const Ids& pages_SP, std::int64_t pages_per_slot, const Ids& slots_R, const Ids& positions_R,
               const Ids& lengths_R, std::int64_t page_rows);
/// v_cache empty: the value is the first v_dim entries of the key row.
Values attention_cached(const Values& q, const Values& k_cache, const Values& v_cache, const Ids& pages_SP,
                        std::int64_t pages_per_slot, const Ids& slots_R, const Ids& lengths_R, std::int64_t page_rows,
                        const AttentionArgs& args);

// ---- routing, permutation (reference_routing.cpp)
struct Routed {
  Values scores_TE, weights_TK;
  Ids expert_ids_TK;
};
Routed router_forward(const Values& logits_TE, const Values& bias_E, const RouterArgs& args);
/// dscores_TE may be empty. Through the full Jacobians of weights and scores.
Values router_backward(const Values& dweights_TK, const Values& dscores_TE, const Values& scores_TE,
                       const Ids& expert_ids_TK, const RouterArgs& args);
struct BalanceLoss {
  double loss = 0.0;
  Values dscores_TE;
};
BalanceLoss sequence_balance_loss(const Values& scores_TE, std::int64_t num_experts, std::int64_t top_k,
                                  std::int64_t tokens_per_sequence, double alpha, double loss_scale);
std::vector<std::int64_t> count_experts(const Ids& expert_ids_TK, std::int64_t num_experts);
Values router_bias_update(Values bias_E, const std::vector<std::int64_t>& counts_E, double speed);
struct Sorted {
  Ids pair_of_R, row_of_TK, offsets_E1;
};
/// Ids of -1 get row -1 and no place among the pairs.
Sorted sort_by_expert(const Ids& expert_ids_TK, std::int64_t num_experts);
Values permute_rows(const Values& x_TD, const Ids& pair_of_R, std::int64_t top_k, std::int64_t width);
/// weights_TK may be empty: 1. Rows of -1 add nothing.
Values unpermute_rows(const Values& x_RD, const Ids& row_of_TK, const Values& weights_TK, std::int64_t top_k,
                      std::int64_t width);
struct UnpermuteGradient {
  Values dx_RD, dweights_TK;
};
UnpermuteGradient unpermute_rows_backward(const Values& dy_TD, const Values& x_RD, const Ids& row_of_TK,
                                          const Values& weights_TK, std::int64_t top_k, std::int64_t width);

// ---- losses, optimizer, sampling (reference_loss.cpp)
struct CrossEntropy {
  Values losses_T, dlogits_TV;
};
CrossEntropy cross_entropy(const Values& logits_TV, const Ids& targets_T, const Values& weights_T,
                           std::int64_t vocabulary);
CrossEntropy distillation(const Values& logits_TV, const Values& teacher_logits_TV, const Values& weights_T,
                          std::int64_t vocabulary, bool reverse);
struct ScalarLoss {
  double loss = 0.0, count = 0.0, right = 0.0;
  Values gradient;
};
/// margins_P may be empty: 0.
ScalarLoss pairwise_preference(const Values& scores_N, const Ids& pairs_P2, const Values& margins_P,
                               const Values& weights_P, double centering);
ScalarLoss pointwise_preference(const Values& scores_N, const Values& labels_N, const Values& weights_N);
/// `right` counts the tokens whose clipped value lost more.
ScalarLoss value_regression(const Values& values_T, const Values& old_values_T, const Values& returns_T,
                            const Values& weights_T, double clip);
struct AdamW {
  Values master, m, v;
};
AdamW adamw(AdamW state, const Values& grad, double grad_scale, const AdamWArgs& args);
/// Probabilities of one row after temperature (> 0) and truncations; 0 where a token is cut.
Values truncated_probabilities(const Values& logits_V, const SamplingArgs& args);

}  // namespace athanor::reference
