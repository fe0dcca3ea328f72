#include "src/model/model_config.hpp"

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "src/base/divisors.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

template <class T>
void require(bool condition, std::string_view key, T value, const std::string& wanted) {
  if (!condition) throw ConfigError(fmt::format("model.{} = {}: wanted {}", key, value, wanted));
}

template <class T>
void require_positive(std::string_view key, T value) {
  require(value > T{0}, key, value, "a number greater than 0");
}

void require_even(std::string_view key, std::int64_t value) {
  require(value > 0 && value % 2 == 0, key, value, "a positive even number (rotary embedding turns pairs)");
}

void validate_mla(const ModelConfig& c) {
  require(c.q_lora_rank >= 0, "q_lora_rank", c.q_lora_rank, "a rank, or 0 for uncompressed queries");
  require_positive("kv_lora_rank", c.kv_lora_rank);
  require_positive("qk_nope_head_dim", c.qk_nope_head_dim);
  require_even("qk_rope_head_dim", c.qk_rope_head_dim);
  require_positive("v_head_dim", c.v_head_dim);
  require(!c.qkv_bias, "qkv_bias", c.qkv_bias, "false with model.attention = mla, which has no biases");
  require(!c.qk_norm, "qk_norm", c.qk_norm, "false with model.attention = mla, which normalises its latents instead");
}

void validate_gqa(const ModelConfig& c) {
  require(c.num_kv_heads > 0 && c.num_heads % c.num_kv_heads == 0, "num_kv_heads", c.num_kv_heads,
          fmt::format("a divisor of model.num_heads = {}: one of {}", c.num_heads, divisors_of(c.num_heads)));
  require_even("head_dim", c.head_dim);
}

void validate_moe(const ModelConfig& c) {
  const std::int64_t experts = c.num_routed_experts, groups = c.num_expert_groups;
  require_positive("moe_inter_dim", c.moe_inter_dim);
  require(c.num_shared_experts >= 0, "num_shared_experts", c.num_shared_experts, "0 or more");
  require(c.first_k_dense >= 0 && c.first_k_dense <= c.num_layers, "first_k_dense", c.first_k_dense,
          fmt::format("0 to model.num_layers = {}", c.num_layers));
  require(groups > 0 && experts % groups == 0, "num_expert_groups", groups,
          fmt::format("a divisor of model.num_routed_experts = {}: one of {}", experts, divisors_of(experts)));
  require(c.num_limited_groups > 0 && c.num_limited_groups <= groups, "num_limited_groups", c.num_limited_groups,
          fmt::format("1 to model.num_expert_groups = {}", groups));
  const std::int64_t group_size = experts / groups;
  require(groups == 1 || group_size >= 2, "num_expert_groups", groups,
          fmt::format("groups of at least 2 experts (a group's score sums its best), so at most {} groups of "
                      "model.num_routed_experts = {}",
                      experts / 2, experts));
  const std::int64_t reachable = group_size * c.num_limited_groups;
  require(c.experts_per_token > 0 && c.experts_per_token <= reachable, "experts_per_token", c.experts_per_token,
          fmt::format("1 to {} (model.num_limited_groups = {} groups of {} experts)", reachable, c.num_limited_groups,
                      group_size));
  require_positive("route_scale", c.route_scale);
  require(c.balance_loss_alpha >= 0.0, "balance_loss_alpha", c.balance_loss_alpha, "0 or more");
}

void validate_rope(const RopeConfig& rope) {
  require(rope.theta > 1.0, "rope.theta", rope.theta, "a base greater than 1");
  if (rope.scaling == RopeScaling::none) return;
  require(rope.factor >= 1.0, "rope.factor", rope.factor, "a stretch of at least 1");
  require_positive("rope.original_max_positions", rope.original_max_positions);
  if (rope.scaling == RopeScaling::yarn) {
    require_positive("rope.beta_slow", rope.beta_slow);
    require(rope.beta_fast > rope.beta_slow, "rope.beta_fast", rope.beta_fast,
            fmt::format("more than model.rope.beta_slow = {}", rope.beta_slow));
    require(rope.mscale >= 0.0, "rope.mscale", rope.mscale, "0 or more");
    require(rope.mscale_all_dim >= 0.0, "rope.mscale_all_dim", rope.mscale_all_dim, "0 or more");
  } else {
    require_positive("rope.low_freq_factor", rope.low_freq_factor);
    require(rope.high_freq_factor > rope.low_freq_factor, "rope.high_freq_factor", rope.high_freq_factor,
            fmt::format("more than model.rope.low_freq_factor = {}", rope.low_freq_factor));
  }
}

}  // namespace

void ModelConfig::validate() const {
  require_positive("vocab_size", vocab_size);
  require_positive("dim", dim);
  require_positive("num_layers", num_layers);
  require_positive("max_positions", max_positions);
  require_positive("num_heads", num_heads);
  require_positive("norm_eps", norm_eps);
  require_positive("init_std", init_std);
  if (attention == AttentionKind::mla)
    validate_mla(*this);
  else
    validate_gqa(*this);
  validate_rope(rope);
  require(num_routed_experts >= 0, "num_routed_experts", num_routed_experts, "0 (every layer dense) or more");
  if (num_routed_experts > 0) validate_moe(*this);
  if (num_routed_experts == 0 || first_k_dense > 0) require_positive("inter_dim", inter_dim);
  require(mtp_depth >= 0, "mtp_depth", mtp_depth, "0 or more");
  require(mtp_depth == 0 || head == HeadKind::tokens, "mtp_depth", mtp_depth,
          "0 with model.head = scalar, which predicts no tokens");
}

ModelConfig with_scalar_head(ModelConfig config) {
  config.head = HeadKind::scalar;
  config.mtp_depth = 0;
  return config;
}

}  // namespace athanor
