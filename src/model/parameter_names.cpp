#include "src/model/parameter_names.hpp"

namespace athanor {
namespace {

using Kind = LogicalTensor::Kind;

class Page {
 public:
  void add(std::string name, const Shape& shape, Kind kind) {
    tensors_.push_back({std::move(name), shape, kind, in_mtp_});
  }
  void begin_mtp() { in_mtp_ = true; }
  std::vector<LogicalTensor> take() { return std::move(tensors_); }

 private:
  std::vector<LogicalTensor> tensors_;
  bool in_mtp_ = false;
};

void add_mla(Page& page, const std::string& prefix, const ModelConfig& c) {
  const std::int64_t q_width = c.num_heads * c.qk_head_dim();
  if (c.q_lora_rank == 0) {
    page.add(prefix + ".w_q", {q_width, c.dim}, Kind::matrix);
  } else {
    page.add(prefix + ".w_q_a", {c.q_lora_rank, c.dim}, Kind::matrix);
    page.add(prefix + ".q_norm.weight", {c.q_lora_rank}, Kind::norm);
    page.add(prefix + ".w_q_b", {q_width, c.q_lora_rank}, Kind::matrix);
  }
  page.add(prefix + ".w_kv_a", {c.kv_lora_rank + c.qk_rope_head_dim, c.dim}, Kind::matrix);
  page.add(prefix + ".kv_norm.weight", {c.kv_lora_rank}, Kind::norm);
  page.add(prefix + ".w_kv_b", {c.num_heads * (c.qk_nope_head_dim + c.v_head_dim), c.kv_lora_rank}, Kind::matrix);
  page.add(prefix + ".w_o", {c.dim, c.num_heads * c.v_head_dim}, Kind::matrix);
}

void add_gqa(Page& page, const std::string& prefix, const ModelConfig& c) {
  const std::int64_t q_width = c.num_heads * c.head_dim, kv_width = c.num_kv_heads * c.head_dim;
  const auto add_projection = [&](const char* letter, std::int64_t width) {
    page.add(prefix + ".w_" + letter, {width, c.dim}, Kind::matrix);
    if (c.qkv_bias) page.add(prefix + ".b_" + letter, {width}, Kind::bias);
  };
  add_projection("q", q_width);
  add_projection("k", kv_width);
  add_projection("v", kv_width);
  if (c.qk_norm) {
    page.add(prefix + ".q_norm.weight", {c.head_dim}, Kind::norm);
    page.add(prefix + ".k_norm.weight", {c.head_dim}, Kind::norm);
  }
  page.add(prefix + ".w_o", {c.dim, q_width}, Kind::matrix);
}

void add_swiglu(Page& page, const std::string& prefix, std::int64_t dim, std::int64_t inter_dim) {
  page.add(prefix + ".w_gate", {inter_dim, dim}, Kind::matrix);
  page.add(prefix + ".w_up", {inter_dim, dim}, Kind::matrix);
  page.add(prefix + ".w_down", {dim, inter_dim}, Kind::matrix);
}

void add_block(Page& page, const std::string& prefix, const ModelConfig& c, bool is_moe) {
  page.add(prefix + ".attention_norm.weight", {c.dim}, Kind::norm);
  if (c.attention == AttentionKind::mla)
    add_mla(page, prefix + ".attention", c);
  else
    add_gqa(page, prefix + ".attention", c);
  page.add(prefix + ".ffn_norm.weight", {c.dim}, Kind::norm);
  if (!is_moe) return add_swiglu(page, prefix + ".ffn", c.dim, c.inter_dim);

  const std::int64_t experts = c.num_routed_experts, inter = c.moe_inter_dim;
  page.add(prefix + ".moe.router.weight", {experts, c.dim}, Kind::router_weight);
  page.add(prefix + ".moe.router.bias", {experts}, Kind::router_bias);
  page.add(prefix + ".moe.experts.w_gate", {experts, inter, c.dim}, Kind::expert_matrix);
  page.add(prefix + ".moe.experts.w_up", {experts, inter, c.dim}, Kind::expert_matrix);
  page.add(prefix + ".moe.experts.w_down", {experts, c.dim, inter}, Kind::expert_matrix);
  if (c.num_shared_experts > 0) add_swiglu(page, prefix + ".moe.shared", c.dim, c.num_shared_experts * inter);
}

}  // namespace

std::vector<LogicalTensor> logical_tensors(const ModelConfig& config) {
  Page page;
  page.add("embedding.weight", {config.vocab_size, config.dim}, Kind::embedding);
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer)
    add_block(page, "layers." + std::to_string(layer), config, config.is_moe_layer(layer));
  page.add("final_norm.weight", {config.dim}, Kind::norm);
  if (config.head == HeadKind::scalar) {
    page.add("value_head.weight", {1, config.dim}, Kind::value_head);
    page.add("value_head.bias", {1}, Kind::value_head);
  } else if (!config.tied_head) {
    page.add("head.weight", {config.vocab_size, config.dim}, Kind::head);
  }
  page.begin_mtp();
  for (std::int64_t module = 0; module < config.mtp_depth; ++module) {
    const std::string prefix = "mtp." + std::to_string(module);
    page.add(prefix + ".embedding_norm.weight", {config.dim}, Kind::norm);
    page.add(prefix + ".hidden_norm.weight", {config.dim}, Kind::norm);
    page.add(prefix + ".eh_proj", {config.dim, 2 * config.dim}, Kind::matrix);
    add_block(page, prefix + ".block", config, config.num_routed_experts > 0);
    page.add(prefix + ".final_norm.weight", {config.dim}, Kind::norm);
  }
  return page.take();
}

}  // namespace athanor
