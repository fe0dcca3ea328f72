// Small configurations of every family, and a bench that runs a whole model.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "src/model/transformer.hpp"
#include "tests/support/gradcheck.hpp"
#include "tests/support/toy_batch.hpp"

namespace athanor::testing {

inline ModelConfig toy_deepseek_v3() {
  ModelConfig c;
  c.vocab_size = 19;
  c.dim = 12;
  c.num_layers = 3;
  c.max_positions = 32;
  c.init_std = 0.2;
  c.num_heads = 2;
  c.q_lora_rank = 7;
  c.kv_lora_rank = 6;
  c.qk_nope_head_dim = 4;
  c.qk_rope_head_dim = 4;
  c.v_head_dim = 3;
  c.rope = {.theta = 100.0, .scaling = RopeScaling::yarn, .factor = 4.0, .original_max_positions = 8};
  c.inter_dim = 10;
  c.num_routed_experts = 8;
  c.experts_per_token = 3;
  c.moe_inter_dim = 5;
  c.num_expert_groups = 4;
  c.num_limited_groups = 2;
  c.route_scale = 2.5;
  c.balance_loss_alpha = 0.02;
  return c;
}

/// V2-Lite: no query compression, softmax gate, two shared experts.
inline ModelConfig toy_deepseek_v2() {
  ModelConfig c = toy_deepseek_v3();
  c.q_lora_rank = 0;
  c.router_sigmoid = false;
  c.num_shared_experts = 2;
  c.route_scale = 1.5;
  c.rope.mscale = c.rope.mscale_all_dim = 0.707;
  return c;
}

/// V3 in FP8, with sizes that it can have; for f32 and bf16 only.
inline ModelConfig toy_deepseek_v3_fp8() {
  ModelConfig c = toy_deepseek_v3();
  c.dim = 48;
  c.q_lora_rank = 32;
  c.kv_lora_rank = 16;
  c.qk_nope_head_dim = c.qk_rope_head_dim = c.v_head_dim = 16;
  c.inter_dim = 144;
  c.moe_inter_dim = 32;
  c.mtp_depth = 1;
  c.init_std = 0.1;
  c.fp8 = true;
  return c;
}

inline ModelConfig toy_llama() {
  ModelConfig c;
  c.vocab_size = 19;
  c.dim = 12;
  c.num_layers = 2;
  c.max_positions = 32;
  c.norm_eps = 1e-5;
  c.init_std = 0.2;
  c.attention = AttentionKind::gqa;
  c.num_heads = 4;
  c.num_kv_heads = 2;
  c.head_dim = 6;
  c.rope_interleaved = false;
  c.rope = {.theta = 100.0, .scaling = RopeScaling::llama3, .factor = 8.0, .original_max_positions = 8};
  c.inter_dim = 10;
  return c;
}

inline ModelConfig toy_qwen2() {
  ModelConfig c = toy_llama();
  c.rope.scaling = RopeScaling::none;
  c.qkv_bias = true;
  c.tied_head = true;
  return c;
}

inline ModelConfig toy_qwen3() {
  ModelConfig c = toy_qwen2();
  c.qkv_bias = false;
  c.qk_norm = true;
  return c;
}

/// Grouped-query attention with a mixture of experts: no published family, but nothing forbids it.
inline ModelConfig toy_gqa_moe() {
  ModelConfig c = toy_qwen3();
  c.num_routed_experts = 4;
  c.moe_inter_dim = 5;
  return c;
}

inline std::map<std::string, ModelConfig> toy_models() {
  std::map<std::string, ModelConfig> all{{"deepseek_v3", toy_deepseek_v3()},
                                         {"deepseek_v2", toy_deepseek_v2()},
                                         {"llama", toy_llama()},
                                         {"qwen2", toy_qwen2()},
                                         {"qwen3", toy_qwen3()},
                                         {"gqa_moe", toy_gqa_moe()}};
  all["deepseek_v3_mtp"] = toy_deepseek_v3();
  all["deepseek_v3_mtp"].mtp_depth = 2;
  all["qwen2_mtp"] = toy_qwen2();
  all["qwen2_mtp"].mtp_depth = 2;
  return all;
}

inline std::vector<std::string> toy_model_names() {
  std::vector<std::string> names;
  for (const auto& [name, config] : toy_models()) names.push_back(name);
  return names;
}

/// A model with initialised parameters on a device, and contexts for its batches.
class ModelBench {
 public:
  explicit ModelBench(const ModelConfig& config, DType dtype = DType::f64, const std::string& device = "cpu")
      : ops_(make_backend(device)),
        stream_(ops_->make_stream()),
        model_(*ops_, config, dtype, *stream_),
        store_(*ops_, model_.parameters(), {}, *stream_) {
    store_.initialize(3, *stream_);
    std::uint64_t number = 0;
    for (StateTensor* state : model_.states())
      upload_doubles(*ops_, state->tensor, random_values(state->tensor.numel(), number++, 0.1), *stream_);
    stream_->synchronize();
  }
  Backend& ops() { return *ops_; }
  Stream& stream() { return *stream_; }
  Transformer& model() { return model_; }
  ParameterStore& store() { return store_; }

  MicroBatch batch(ToyBatchOptions options = {}) {
    options.vocab_size = model_.config().vocab_size;
    options.mtp_depth = model_.config().mtp_depth;
    options.acc = accumulation_dtype(model_.dtype());
    return make_toy_batch(*ops_, *stream_, options);
  }
  ExecContext training(const MicroBatch& batch) { return {*ops_, *stream_, *stream_, batch, model_.dtype(), true}; }
  ExecContext evaluation(const MicroBatch& batch) { return {*ops_, *stream_, *stream_, batch, model_.dtype(), false}; }

  /// F, I and W of one micro-batch.
  void train(const MicroBatch& batch, int micro_batch = 0) {
    ExecContext ctx = training(batch);
    model_.forward(ctx, micro_batch, {});
    model_.backward_input(ctx, micro_batch, {});
    model_.backward_weight(ctx, micro_batch);
  }
  std::vector<double> values(const Tensor& x) { return download_doubles(*ops_, x, *stream_); }
  /// Main, MTP and balance losses.
  std::vector<double> losses() {
    const StepSums& sums = model_.sums();
    return {values(sums.loss_1)[0], values(sums.mtp_loss_1)[0], values(sums.balance_loss_1)[0]};
  }
  double total_loss() {
    const std::vector<double> parts = losses();
    return parts[0] + parts[1] + parts[2];
  }
  std::vector<std::vector<double>> gradients() {
    std::vector<std::vector<double>> all;
    for (const Parameter* parameter : store_.parameters()) all.push_back(values(parameter->grad));
    return all;
  }
  void clear() {
    store_.zero_gradients(*stream_);
    zero_sums(model_.sums(), *ops_, *stream_);
  }

 private:
  std::unique_ptr<Backend> ops_;
  std::unique_ptr<Stream> stream_;
  Transformer model_;
  ParameterStore store_;
};

}  // namespace athanor::testing
