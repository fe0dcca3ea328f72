// Logits, loss and gradients against transformers' for tiny models of every family. The files are made by
// tests/golden/make_model_goldens.py, which also says by what formula the weights are given.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "src/model/transformer.hpp"
#include "tests/support/gradcheck.hpp"

namespace athanor {
namespace {

using testing::relative_difference;

/// The formula of make_model_goldens.py's weight_values.
std::vector<double> weight_values(const std::string& name, const Shape& shape) {
  std::vector<double> values(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint64_t z = stable_hash(name) + (i + 1) * 0x9E3779B97F4A7C15U;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    z ^= z >> 31;
    const double unit = static_cast<double>(z >> 40) * 0x1.0p-23 - 1.0;
    if (name.ends_with("norm.weight"))
      values[i] = 1.0 + 0.3 * unit;
    else if (name.ends_with("router.bias"))
      values[i] = 0.1 * (1.0 + unit);
    else
      values[i] = unit * 1.7 / std::sqrt(static_cast<double>(shape.back()));
  }
  return values;
}

ModelConfig config_of(const nlohmann::json& json) {
  ModelConfig c;
  const auto read = [&](const char* key, auto& value) {
    if (json.contains(key)) json.at(key).get_to(value);
  };
  c.attention = json.at("attention") == "mla" ? AttentionKind::mla : AttentionKind::gqa;
  read("vocab_size", c.vocab_size);
  read("dim", c.dim);
  read("inter_dim", c.inter_dim);
  read("num_layers", c.num_layers);
  read("num_heads", c.num_heads);
  read("num_kv_heads", c.num_kv_heads);
  read("head_dim", c.head_dim);
  read("q_lora_rank", c.q_lora_rank);
  read("kv_lora_rank", c.kv_lora_rank);
  read("qk_nope_head_dim", c.qk_nope_head_dim);
  read("qk_rope_head_dim", c.qk_rope_head_dim);
  read("v_head_dim", c.v_head_dim);
  read("num_routed_experts", c.num_routed_experts);
  read("num_shared_experts", c.num_shared_experts);
  read("experts_per_token", c.experts_per_token);
  read("moe_inter_dim", c.moe_inter_dim);
  read("first_k_dense", c.first_k_dense);
  read("num_expert_groups", c.num_expert_groups);
  read("num_limited_groups", c.num_limited_groups);
  read("router_sigmoid", c.router_sigmoid);
  read("route_scale", c.route_scale);
  read("max_positions", c.max_positions);
  read("norm_eps", c.norm_eps);
  read("tied_head", c.tied_head);
  read("qkv_bias", c.qkv_bias);
  read("qk_norm", c.qk_norm);
  read("rope_interleaved", c.rope_interleaved);
  read("rope_theta", c.rope.theta);
  read("rope_factor", c.rope.factor);
  read("rope_original_max_positions", c.rope.original_max_positions);
  read("rope_beta_fast", c.rope.beta_fast);
  read("rope_beta_slow", c.rope.beta_slow);
  read("rope_mscale", c.rope.mscale);
  read("rope_mscale_all_dim", c.rope.mscale_all_dim);
  read("rope_low_freq_factor", c.rope.low_freq_factor);
  read("rope_high_freq_factor", c.rope.high_freq_factor);
  const std::string scaling = json.value("rope_scaling", "none");
  c.rope.scaling = scaling == "yarn"     ? RopeScaling::yarn
                   : scaling == "llama3" ? RopeScaling::llama3
                                         : RopeScaling::none;
  c.balance_loss_alpha = 0.0;
  return c;
}

struct GoldenCase {
  std::string name;
  DType dtype;
};

class ModelGolden : public ::testing::TestWithParam<GoldenCase> {};

// Promises: the same weights and tokens give transformers' logits, loss and gradients, in f64 and in f32. The bound is
// that of transformers, whose norms, softmax and router work in f32 (2^-24) through a few layers.
TEST_P(ModelGolden, EqualsTransformers) {
  const std::string path = std::string(ATHANOR_GOLDEN_DIR) + "/model/" + GetParam().name + ".json";
  std::ifstream file(path);
  ASSERT_TRUE(file) << path;
  const nlohmann::json golden = nlohmann::json::parse(file);
  const auto ops = make_backend("cpu");
  const auto stream = ops->make_stream();
  const DType dtype = GetParam().dtype, acc = accumulation_dtype(dtype);
  Transformer model(*ops, config_of(golden.at("config")), dtype, *stream);
  ParameterStore store(*ops, model.parameters(), {}, *stream);
  for (Parameter* p : model.parameters())
    testing::upload_doubles(*ops, p->weight, weight_values(p->name(), p->spec.global), *stream);
  if (model.config().router_sigmoid)
    for (StateTensor* s : model.states())
      testing::upload_doubles(*ops, s->tensor, weight_values(s->spec.name, s->spec.global), *stream);

  const std::vector<std::int32_t> tokens = golden.at("tokens");
  MicroBatch batch;
  batch.num_sequences = golden.at("num_sequences");
  batch.tokens_per_sequence = golden.at("tokens_per_sequence");
  const auto length = static_cast<std::size_t>(batch.tokens_per_sequence);
  std::vector<std::int32_t> positions, key_begin, targets;
  std::vector<double> weights;
  for (std::size_t t = 0; t < tokens.size(); ++t) {
    const bool has_target = (t + 1) % length != 0;
    positions.push_back(static_cast<std::int32_t>(t % length));
    key_begin.push_back(static_cast<std::int32_t>(t / length * length));
    targets.push_back(has_target ? tokens[t + 1] : 0);
    weights.push_back(has_target ? 1.0 / static_cast<double>(tokens.size() - tokens.size() / length) : 0.0);
  }
  const Shape shape{static_cast<std::int64_t>(tokens.size())};
  const auto ids = [&](const std::vector<std::int32_t>& values) {
    return upload_vector<std::int32_t>(*ops, values, shape, *stream);
  };
  batch.tokens_T = ids(tokens);
  batch.positions_T = ids(positions);
  batch.key_begin_T = ids(key_begin);
  batch.targets_T = ids(targets);
  batch.loss_weights_T = testing::tensor_of(*ops, weights, shape, acc, *stream);

  ExecContext evaluation{*ops, *stream, *stream, batch, dtype, false};
  const std::vector<double> logits = testing::download_doubles(*ops, model.logits(evaluation), *stream);
  EXPECT_LT(relative_difference(logits, golden.at("logits")), 1e-5);

  ExecContext training{*ops, *stream, *stream, batch, dtype, true};
  model.forward(training, 0, {});
  model.backward_input(training, 0, {});
  model.backward_weight(training, 0);
  EXPECT_NEAR(testing::download_doubles(*ops, model.sums().loss_1, *stream)[0], golden.at("loss"), 1e-5);
  std::size_t compared = 0;
  for (const Parameter* p : model.parameters()) {
    if (!golden.at("gradients").contains(p->name())) continue;
    const std::vector<double> wanted = golden.at("gradients").at(p->name());
    std::vector<double> found = testing::download_doubles(*ops, p->grad, *stream);
    found.resize(wanted.size());
    EXPECT_LT(relative_difference(found, wanted), 2e-5) << p->name();
    ++compared;
  }
  EXPECT_EQ(compared, golden.at("gradients").size());
}

std::vector<GoldenCase> golden_cases() {
  std::vector<GoldenCase> cases;
  for (const char* name : {"deepseek_v3", "deepseek_v3_direct_query", "deepseek_v2", "qwen2", "qwen3", "llama3"})
    for (const DType dtype : {DType::f64, DType::f32}) cases.push_back({name, dtype});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Families, ModelGolden, ::testing::ValuesIn(golden_cases()), [](const auto& info) {
  return info.param.name + "_" + std::string(to_string(info.param.dtype));
});

}  // namespace
}  // namespace athanor
