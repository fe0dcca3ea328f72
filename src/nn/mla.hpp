// Multi-head latent attention. Source: DeepSeek-V3 report, eq. 1-11; names as in its inference code.
// T tokens, D model width, H heads, n = qk_nope_head_dim, r = qk_rope_head_dim, v = v_head_dim, C = kv_lora_rank.
// Law: training assembles full keys and values; decode attends in the absorbed form to C + r numbers a token. Both are
// the same function. Cut over tp by heads: x and y are this rank's tokens; the latents are computed for these, so that
// what is gathered (over tp, then over cp) is C + r numbers a token and not D or full keys. Kept for backward: the
// inputs of the linears (of x and the query's latent this rank's tokens, gathered again in backward_input), q, k, v, o
// and one log-sum-exp a token and head. Where inputs are kept in FP8, w_o's is not: attention's own backward reads o,
// and is sensitive to it (DeepSeek-V3 report, section 3.3.3, which has a format of 12 bits for it).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "src/nn/decode_rows.hpp"
#include "src/nn/linear.hpp"
#include "src/nn/rms_norm.hpp"
#include "src/nn/rope.hpp"

namespace athanor {

struct MlaConfig {
  std::int64_t dim = 0, num_heads = 0;
  std::int64_t q_lora_rank = 0;  ///< 0: queries are not compressed
  std::int64_t kv_lora_rank = 0;
  std::int64_t qk_nope_head_dim = 0, qk_rope_head_dim = 0, v_head_dim = 0;
  double softmax_scale = 0.0;
  double norm_eps = 1e-6, init_std = 0.006;
};

class Mla {
 public:
  struct Saved {
    Linear::Saved w_q, w_q_a, w_q_b, w_kv_a, w_kv_b, w_o;
    RmsNorm::Saved q_norm, kv_norm;
    Tensor q, k, v, o;  ///< [T, H*(n+r)], [K, H*(n+r)], [K, H*v], [T, H*v]; H heads of this rank, K = T*cp keys
    Tensor lse_TH;      ///< acc
    Tensor k_pe;        ///< [K, r], where q, k and v are computed again
  };

  /// Parameters prefix + ".w_q" or ".w_q_a", ".q_norm.weight", ".w_q_b"; ".w_kv_a", ".kv_norm.weight", ".w_kv_b",
  /// ".w_o".
  Mla(const std::string& prefix, DType dtype, const MlaConfig& config, const RopeTables& rope,
      const ParallelRanks& ranks = {});

  Tensor forward(ExecContext& ctx, const Tensor& x_TD, Saved& saved);
  Tensor backward_input(ExecContext& ctx, const Tensor& dy_TD, Saved& saved);
  void backward_weight(ExecContext& ctx, Saved& saved);
  /// All linears multiply in FP8 from now on; attention itself, and the absorbed form in decode, do not.
  void use_fp8(KeptInputs inputs = KeptInputs::numbers);
  std::vector<Parameter*> parameters();

  /// The same function for rows that attend to the cache, in the form in which the cache keeps tokens (CacheForm).
  Tensor decode(ExecContext& ctx, const Tensor& x_RD, const DecodeRows& rows, LayerCache& cache);

 private:
  struct Latent {
    Tensor c_kv;  ///< [K, C], normalised
    Tensor k_pe;  ///< [K, r], rotated
  };
  /// A map of ParallelRanks on both parts of a latent at once.
  template <class Map>
  Latent map_joined(ExecContext& ctx, const Latent& latent, const Map& map) const;
  /// x_TD: shared with project_latent.
  Tensor project_query(ExecContext& ctx, Activation& x_TD, const Tensor& positions_T, Saved& saved);
  /// w of the rows of all ranks of tp, of which this rank's are kept.
  Tensor project_gathered(ExecContext& ctx, Linear& w, Activation& x_TI, Linear::Saved& saved);
  /// The full keys and values of all K latents, for the heads here.
  void assemble_keys(ExecContext& ctx, Activation& c_kv, const Tensor& k_pe, Tensor& k, Tensor& v, Saved& saved);
  /// [R, H*v], keys and values of heads in the cache.
  Tensor attend_heads(ExecContext& ctx, const Tensor& q, const Latent& latent, const DecodeRows& rows,
                      LayerCache& cache);
  /// [R, H*v], latents in the cache.
  Tensor attend_latents(ExecContext& ctx, const Tensor& q, const Latent& latent, const DecodeRows& rows,
                        LayerCache& cache);
  /// q, k and v from what their last linears kept.
  void recompute_operands(ExecContext& ctx, Saved& saved);
  Latent project_latent(ExecContext& ctx, Activation& x_TD, const Tensor& positions_T, Saved& saved);

  MlaConfig config_;  ///< num_heads: of this rank
  const RopeTables& rope_;
  ParallelRanks ranks_;
  std::optional<Linear> w_q_, w_q_a_, w_q_b_;
  std::optional<RmsNorm> q_norm_;
  Linear w_kv_a_, w_kv_b_, w_o_;
  RmsNorm kv_norm_;
};

static_assert(Layer<Mla>);

}  // namespace athanor
