// The description of a model: one struct covers DeepSeek-V3/V2-Lite, Qwen2/2.5/3 and Llama-3.
// Names are those of the DeepSeek-V3 report and of the field; defaults are DeepSeek-V3's published values where the
// model family fixes one. Plain data: io/options binds it to the command line.
#pragma once

#include <cstdint>
#include <string>

#include "src/nn/rope_config.hpp"

namespace athanor {

enum class AttentionKind : std::uint8_t { mla, gqa };
/// What the last state becomes: logits of the next token, or one number (a reward model, a critic).
enum class HeadKind : std::uint8_t { tokens, scalar };

struct ModelConfig {
  std::int64_t vocab_size = 256;
  std::int64_t dim = 128;
  std::int64_t num_layers = 4;
  std::int64_t max_positions = 4096;  ///< rows of the rotary tables
  double norm_eps = 1e-6;
  double init_std = 0.006;
  bool tied_head = false;  ///< of tokens: the head is the embedding
  HeadKind head = HeadKind::tokens;

  AttentionKind attention = AttentionKind::mla;
  std::int64_t num_heads = 4;
  // MLA
  std::int64_t q_lora_rank = 0;  ///< 0: no query compression
  std::int64_t kv_lora_rank = 32;
  std::int64_t qk_nope_head_dim = 16, qk_rope_head_dim = 16, v_head_dim = 16;
  // GQA
  std::int64_t num_kv_heads = 4, head_dim = 32;
  bool qkv_bias = false;  ///< Qwen2
  bool qk_norm = false;   ///< Qwen3

  bool rope_interleaved = true;  ///< DeepSeek; false: rotate-half (Qwen, Llama)
  RopeConfig rope;

  std::int64_t inter_dim = 512;  ///< dense SwiGLU width
  // Mixture of experts; num_routed_experts = 0: every layer is dense
  std::int64_t num_routed_experts = 0, num_shared_experts = 1, experts_per_token = 2;
  std::int64_t moe_inter_dim = 128;
  std::int64_t first_k_dense = 1;
  std::int64_t num_expert_groups = 1, num_limited_groups = 1;
  bool router_sigmoid = true;  ///< V3; false: V2's softmax gate, group score = max, weights not normalised
  double route_scale = 1.0;
  double balance_loss_alpha = 1e-4;

  std::int64_t mtp_depth = 0;

  /// Linear maps of attention and feed-forward networks multiply in FP8 as DeepSeek-V3 was trained (its report, section
  /// 3.3); embedding, head, router, norms and attention itself do not.
  bool fp8 = false;
  /// With fp8: what these maps read, and gate and up of the feed-forward networks, is kept for backward in FP8 alone;
  /// not what the map after attention reads (section 3.3.3).
  bool fp8_activations = true;
  /// With fp8: what goes to experts, forward and backward, is FP8 before it leaves (section 3.3.3).
  bool fp8_dispatch = true;

  bool keeps_fp8() const { return fp8 && fp8_activations; }
  bool dispatches_fp8() const { return fp8 && fp8_dispatch; }
  bool is_moe_layer(std::int64_t layer) const { return num_routed_experts > 0 && layer >= first_k_dense; }
  bool head_is_embedding() const { return tied_head && head == HeadKind::tokens; }
  std::int64_t qk_head_dim() const {
    return attention == AttentionKind::mla ? qk_nope_head_dim + qk_rope_head_dim : head_dim;
  }

  /// @throws ConfigError naming the key, the value and the values that would do.
  void validate() const;
};

/// The same layers with a scalar head in place of the unembedding, and without MTP modules, which predict tokens: the
/// reward model and the critic of InstructGPT (arXiv 2203.02155, section 3.5).
ModelConfig with_scalar_head(ModelConfig config);

}  // namespace athanor
