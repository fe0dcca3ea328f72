// What operations of backend.hpp are given beside plain tensors: how they work, tensors that belong together, and the
// places of the sums they leave. Plain data; legend as in backend.hpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "src/backend/tensor.hpp"

namespace athanor {

enum class Transpose : std::uint8_t { no, yes };

/// How a rotary embedding pairs the entries of a head: (2i, 2i+1) as DeepSeek, or (i, i + r/2) as Qwen and Llama.
enum class RopeLayout : std::uint8_t { interleaved, half };

/// Where the rotated entries lie in a row of [T, num_heads * head_dim].
struct RopeArgs {
  RopeLayout layout = RopeLayout::interleaved;
  std::int64_t num_heads = 1, head_dim = 0;
  std::int64_t offset = 0;    ///< first rotated entry of each head
  std::int64_t rope_dim = 0;  ///< rotated entries of each head (even)
  bool inverse = false;       ///< rotate by the negative angle: the backward of the forward
};

/// A page of a cache has 16, 32, 64, ... rows: a part or a multiple of every tile of keys.
constexpr bool whole_page(std::int64_t page_rows) { return page_rows >= 16 && (page_rows & (page_rows - 1)) == 0; }

struct AttentionArgs {
  std::int64_t num_heads = 0, num_kv_heads = 0;  ///< H, G; query head h uses key/value head h / (H/G)
  std::int64_t qk_dim = 0, v_dim = 0;            ///< Q, V
  double scale = 0.0;
};

enum class ScoreFunction : std::uint8_t { sigmoid, softmax };

/// Router of DeepSeek-V3 (sigmoid) and V2 (softmax). Source: DeepSeek-V3 report eq. 12-16, section 2.1.2.
struct RouterArgs {
  ScoreFunction score_function = ScoreFunction::sigmoid;
  std::int64_t num_experts = 0, top_k = 0;
  std::int64_t num_groups = 1, num_limited_groups = 1;
  bool normalize_weights = true;  ///< divide by (sum of the chosen + 1e-20)
  double route_scale = 1.0;
  /// Score of a group: sum of its two largest selection scores (V3, whose K/M = 8/4 = 2 of the report is fixed at two
  /// in its inference code), or its maximum (V2).
  bool group_score_is_max = false;
};

enum class PolicyObjective : std::uint8_t { clipped, gspo, cispo };

/// Objective of a policy update, per token of weight w and advantage A; rho = exp(logp - old).
/// clipped: -min(rho A, clip(rho, 1 - clip_low, 1 + clip_high) A) (PPO, GRPO and its variants; DeepSeekMath, arXiv
/// 2402.03300). gspo: the same with the sequence's mean log-ratio (arXiv 2507.18071). cispo: -min(rho, clip_high) A
/// logp with the ratio held constant (arXiv 2506.13585). Plus kl_beta times k3 of the reference (Schulman 2020).
struct PolicyGradientArgs {
  PolicyObjective objective = PolicyObjective::clipped;
  double clip_low = 0.2, clip_high = 0.2;
  double ratio_bound = 0.0;  ///< rho is bounded by it before the clip, for A < 0 too; 0: not (INTELLECT-2's delta)
  double kl_beta = 0.0;
};

/// What policy_gradient adds up over the tokens that count.
enum PolicySum : std::size_t {
  kPolicyLoss,        ///< weighted objective
  kPolicyKl,          ///< k3 to the reference
  kPolicyClipped,     ///< tokens whose ratio was cut
  kPolicyTokens,      ///< tokens
  kPolicyRatio,       ///< rho
  kPolicyGap,         ///< |logp - old|
  kPolicyLargestGap,  ///< its maximum
  kPolicySurprise,    ///< -logp: estimates the entropy
  kNumPolicySums
};

/// What the losses of preferences add up over pairs (pairwise) or answers (pointwise).
enum PreferenceSum : std::size_t {
  kPreferenceLoss,       ///< weighted
  kPreferenceCount,      ///< pairs or answers that count
  kPreferenceRight,      ///< of them, those on their right side: the better one higher; a good one above 0, a bad below
  kPreferenceGoodScore,  ///< scores of the better, or good, answers
  kPreferenceGoodCount,
  kPreferenceBadScore,
  kPreferenceBadCount,
  kNumPreferenceSums
};

/// What value_regression adds up over the tokens that count; V the value, R the return.
enum ValueSum : std::size_t {
  kValueLoss,     ///< weighted
  kValueTokens,   ///< tokens
  kValueClipped,  ///< tokens whose clipped value lost more: no gradient
  kValueSum,      ///< V
  kValueReturn,   ///< R
  kValueReturnSquared,
  kValueError,  ///< R - V
  kValueErrorSquared,
  kNumValueSums
};

/// What a scalar head's sums have room for; the loss is the first of either.
inline constexpr std::size_t kNumScalarSums = 8;
static_assert(kNumPreferenceSums <= kNumScalarSums && kNumValueSums <= kNumScalarSums);
static_assert(std::size_t{kPreferenceLoss} == 0 && std::size_t{kValueLoss} == 0);

struct AdamWArgs {
  double lr = 0.0, beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0.0;
  std::int64_t step = 1;  ///< 1 for the first update (bias correction)
};

struct SamplingArgs {
  double temperature = 1.0;  ///< 0: the largest logit (lowest index on a tie)
  double top_p = 1.0;
  std::int64_t top_k = 0;  ///< 0: all
  double min_p = 0.0;
};

/// What shares a scale: a row's 128 columns, or a block of 128 x 128.
enum class Fp8Tiles : std::uint8_t { rows, blocks };

/// What the scale of a tile is: its largest magnitude / 448, or the power of two at or above that, with which the
/// element times the scale is exact and goes into other such tiles without being rounded again.
enum class Fp8Scaling : std::uint8_t { exact, power_of_two };

/// A matrix [N, K], or a stack of them, of E4M3 with f32 scales: the element times its tile's scale. Tiles count from
/// column 0 and row 0 of each matrix; K is a multiple of 16. DeepSeek-V3 report section 3.3.2.
struct Fp8Matrix {
  Tensor values;  ///< u8 [N, K] or [E, N, K]: bits of E4M3
  Tensor scales;  ///< rows: [K/128 rounded up, N]; blocks: [(E,) N/128 rounded up, K/128 rounded up to 4 more]
  Fp8Tiles tiles = Fp8Tiles::rows;
};

/// Sequences that are being written, one a row (i32): what a step of generation reads and advance_rows moves on.
struct WrittenRows {
  Tensor tokens_R;     ///< the newest token, which the next step reads
  Tensor positions_R;  ///< its place in the sequence
  Tensor lengths_R;    ///< tokens it may attend to: positions_R + 1; 0 where the sequence has ended
  Tensor counts_R;     ///< tokens written so far
};

}  // namespace athanor
