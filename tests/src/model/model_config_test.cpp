#include "src/model/model_config.hpp"

#include <gtest/gtest.h>

#include <functional>

#include "src/base/error.hpp"
#include "tests/src/model/toy_models.hpp"

namespace athanor {
namespace {

/// The message with which a configuration is refused; empty when it is accepted.
std::string refusal(ModelConfig config, const std::function<void(ModelConfig&)>& spoil) {
  spoil(config);
  try {
    config.validate();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return {};
}

// Promises: the defaults and every family pass.
TEST(ModelConfigTest, AcceptsEveryFamily) {
  EXPECT_NO_THROW(ModelConfig{}.validate());
  for (const auto& [name, config] : testing::toy_models()) EXPECT_NO_THROW(config.validate()) << name;
}

// Promises: what cannot be built is refused with the key, the value and what would do.
TEST(ModelConfigTest, RefusesTheImpossible) {
  const ModelConfig v3 = testing::toy_deepseek_v3(), llama = testing::toy_llama();
  EXPECT_EQ(refusal(v3, [](ModelConfig& c) { c.dim = 0; }), "model.dim = 0: wanted a number greater than 0");
  EXPECT_EQ(refusal(llama, [](ModelConfig& c) { c.num_kv_heads = 3; }),
            "model.num_kv_heads = 3: wanted a divisor of model.num_heads = 4: one of 1, 2, 4");
  EXPECT_EQ(refusal(v3, [](ModelConfig& c) { c.qk_rope_head_dim = 5; }),
            "model.qk_rope_head_dim = 5: wanted a positive even number (rotary embedding turns pairs)");
  EXPECT_EQ(refusal(v3, [](ModelConfig& c) { c.num_expert_groups = 3; }),
            "model.num_expert_groups = 3: wanted a divisor of model.num_routed_experts = 8: one of 1, 2, 4, 8");
  EXPECT_NE(refusal(v3, [](ModelConfig& c) { c.num_expert_groups = 8; }).find("at most 4 groups"), std::string::npos);
  EXPECT_EQ(refusal(v3, [](ModelConfig& c) { c.experts_per_token = 5; }),
            "model.experts_per_token = 5: wanted 1 to 4 (model.num_limited_groups = 2 groups of 2 experts)");
  EXPECT_NE(refusal(v3, [](ModelConfig& c) { c.num_limited_groups = 5; }), "");
  EXPECT_NE(refusal(v3, [](ModelConfig& c) { c.first_k_dense = 4; }), "");
  EXPECT_NE(refusal(v3, [](ModelConfig& c) { c.qkv_bias = true; }), "");
  EXPECT_NE(refusal(v3, [](ModelConfig& c) { c.rope.factor = 0.5; }), "");
  EXPECT_NE(refusal(v3, [](ModelConfig& c) { c.mtp_depth = -1; }), "");
  EXPECT_NE(refusal(llama, [](ModelConfig& c) { c.rope.high_freq_factor = 1.0; }), "");
  EXPECT_NE(refusal(llama, [](ModelConfig& c) { c.inter_dim = 0; }), "");
}

}  // namespace
}  // namespace athanor
