// Grouped-query attention of the dense families (Ainslie et al. 2023): Llama-3, Qwen2/2.5 (bias on q, k, v), Qwen3 (an
// RMSNorm on every query and key head before the rotation).
// T tokens, D model width, H query heads, G key/value heads, Q = head_dim; query head h reads key/value head h / (H/G).
// Law: cut over tp by heads; x and y are this rank's tokens. Keys and values are gathered over cp. Kept for backward:
// the inputs of the linears and norms (of x this rank's tokens, gathered again in backward_input), q, k, v, o and one
// log-sum-exp a token and head. Where inputs are kept in FP8, w_o's is not, as in Mla.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "src/nn/decode_rows.hpp"
#include "src/nn/linear.hpp"
#include "src/nn/rms_norm.hpp"
#include "src/nn/rope.hpp"

namespace athanor {

struct GqaConfig {
  std::int64_t dim = 0, num_heads = 0, num_kv_heads = 0, head_dim = 0;
  bool qkv_bias = false, qk_norm = false;
  double softmax_scale = 0.0;
  double norm_eps = 1e-6, init_std = 0.006;
};

class Gqa {
 public:
  struct Saved {
    Linear::Saved w_q, w_k, w_v, w_o;
    RmsNorm::Saved q_norm, k_norm;
    Tensor q, k, v, o;  ///< [T, H*Q], [K, G*Q], [K, G*Q], [T, H*Q]; heads of this rank, K = T*cp keys
    Tensor lse_TH;      ///< acc
  };

  /// Parameters prefix + ".w_q", ".w_k", ".w_v" (each with ".b_q", ... on demand), ".q_norm.weight", ".k_norm.weight",
  /// ".w_o".
  Gqa(const std::string& prefix, DType dtype, const GqaConfig& config, const RopeTables& rope,
      const ParallelRanks& ranks = {});

  Tensor forward(ExecContext& ctx, const Tensor& x_TD, Saved& saved);
  Tensor backward_input(ExecContext& ctx, const Tensor& dy_TD, Saved& saved);
  void backward_weight(ExecContext& ctx, Saved& saved);
  /// All linears multiply in FP8 from now on; attention itself does not.
  void use_fp8(KeptInputs inputs = KeptInputs::numbers);
  std::vector<Parameter*> parameters();

  /// The same function for rows that attend to the cache (k and v of width G*Q).
  Tensor decode(ExecContext& ctx, const Tensor& x_RD, const DecodeRows& rows, LayerCache& cache);

 private:
  /// One of query and key: linear, norm of every head where there is one, rotation.
  Tensor project(ExecContext& ctx, Linear& w, std::optional<RmsNorm>& norm, std::int64_t num_heads, Activation& x_TD,
                 const Tensor& positions_T, Linear::Saved& saved_w, RmsNorm::Saved& saved_norm);
  /// The transpose: the gradient of the linear's output, from that of the rotated heads (overwritten).
  Tensor project_backward(ExecContext& ctx, std::optional<RmsNorm>& norm, std::int64_t num_heads, const Tensor& dheads,
                          RmsNorm::Saved& saved_norm);

  struct Operands {
    Tensor q, k, v;
  };
  /// Queries, keys and values of x [T, D], keys and values gathered over cp.
  Operands operands(ExecContext& ctx, Activation& all_TD, Saved& saved);

  GqaConfig config_;    ///< num_heads, num_kv_heads: of this rank
  AttentionArgs args_;  ///< likewise
  ParallelRanks ranks_;
  const RopeTables& rope_;
  Linear w_q_, w_k_, w_v_, w_o_;
  std::optional<RmsNorm> q_norm_, k_norm_;
};

static_assert(Layer<Gqa>);

}  // namespace athanor
