// Models of a few thousand weights that every layout of eight ranks can cut.
#pragma once

#include "src/model/model_config.hpp"

namespace athanor::testing {

/// DeepSeek-V3 in small: MLA with compressed queries, shared and routed experts, balance loss, MTP.
inline ModelConfig experts_config() {
  ModelConfig config;
  config.vocab_size = 32;
  config.dim = 16;
  config.num_layers = 4;
  config.max_positions = 16;
  config.init_std = 0.08;
  config.num_heads = 4;
  config.q_lora_rank = 8;
  config.kv_lora_rank = 8;
  config.qk_nope_head_dim = config.qk_rope_head_dim = config.v_head_dim = 4;
  config.inter_dim = 24;
  config.num_routed_experts = 8;
  config.experts_per_token = 2;
  config.num_expert_groups = 4;
  config.num_limited_groups = 2;
  config.moe_inter_dim = 8;
  config.balance_loss_alpha = 1e-2;
  config.mtp_depth = 1;
  return config;
}

/// Grouped queries and a tied head.
inline ModelConfig dense_config() {
  ModelConfig config;
  config.vocab_size = 32;
  config.dim = 16;
  config.num_layers = 4;
  config.max_positions = 16;
  config.init_std = 0.08;
  config.tied_head = true;
  config.attention = AttentionKind::gqa;
  config.num_heads = 8;
  config.num_kv_heads = 4;
  config.head_dim = 4;
  config.qkv_bias = config.qk_norm = true;
  config.rope_interleaved = false;
  config.inter_dim = 24;
  return config;
}

/// Experts in FP8, with activations kept so; sizes that two ranks of tp can cut. For f32 and bf16.
inline ModelConfig fp8_config() {
  ModelConfig config = experts_config();
  config.dim = config.q_lora_rank = config.kv_lora_rank = 32;
  config.num_heads = 2;
  config.qk_nope_head_dim = config.qk_rope_head_dim = config.v_head_dim = 16;
  config.inter_dim = 64;
  config.moe_inter_dim = 32;
  config.fp8 = true;
  return config;
}

/// Large enough weights that what is sampled differs: experts and either attention; MTP beside MLA.
inline ModelConfig sampling_config(AttentionKind attention) {
  ModelConfig config;
  config.vocab_size = 264;
  config.dim = 16;
  config.num_layers = 4;
  config.max_positions = 64;
  config.init_std = 0.3;
  config.attention = attention;
  config.num_heads = 4;
  config.kv_lora_rank = 8;
  config.qk_nope_head_dim = config.qk_rope_head_dim = config.v_head_dim = 4;
  config.num_kv_heads = 2;
  config.head_dim = 4;
  config.inter_dim = 24;
  config.num_routed_experts = 8;
  config.experts_per_token = 2;
  config.moe_inter_dim = 8;
  config.mtp_depth = attention == AttentionKind::mla ? 1 : 0;
  return config;
}

}  // namespace athanor::testing
