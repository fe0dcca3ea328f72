#include "src/model/flop_count.hpp"

#include "src/model/parameter_names.hpp"

namespace athanor {
namespace {

/// Weights of the matrices one token meets.
double matrix_weights(const ModelConfig& config, bool with_mtp) {
  using Kind = LogicalTensor::Kind;
  double weights = 0.0;
  for (const LogicalTensor& tensor : logical_tensors(config)) {
    if (tensor.in_mtp && !with_mtp) continue;
    const auto numel = static_cast<double>(tensor.shape.numel());
    switch (tensor.kind) {
      case Kind::matrix:
      case Kind::router_weight:
        weights += numel;
        break;
      case Kind::expert_matrix:
        weights +=
            numel * static_cast<double>(config.experts_per_token) / static_cast<double>(config.num_routed_experts);
        break;
      case Kind::embedding:  // the head, tied or not, is counted below
      case Kind::head:
      case Kind::value_head:
      case Kind::router_bias:
      case Kind::norm:
      case Kind::bias:
        break;
    }
  }
  const auto heads = static_cast<double>(1 + (with_mtp ? config.mtp_depth : 0));
  const std::int64_t outputs = config.head == HeadKind::scalar ? 1 : config.vocab_size;
  return weights + heads * static_cast<double>(outputs * config.dim);
}

double attention_flops(const ModelConfig& config, std::int64_t sequence_length, bool with_mtp) {
  const std::int64_t v_dim = config.attention == AttentionKind::mla ? config.v_head_dim : config.head_dim;
  const auto layers = static_cast<double>(config.num_layers + (with_mtp ? config.mtp_depth : 0));
  const auto head_widths = static_cast<double>(config.num_heads * (config.qk_head_dim() + v_dim));
  return layers * 2.0 * head_widths * 0.5 * static_cast<double>(sequence_length + 1);
}

double forward_flops(const ModelConfig& config, std::int64_t sequence_length, bool with_mtp) {
  return 2.0 * matrix_weights(config, with_mtp) + attention_flops(config, sequence_length, with_mtp);
}

}  // namespace

double training_flops_per_token(const ModelConfig& config, std::int64_t sequence_length) {
  return 3.0 * forward_flops(config, sequence_length, true);
}

double forward_flops_per_token(const ModelConfig& config, std::int64_t sequence_length) {
  return forward_flops(config, sequence_length, false);
}

}  // namespace athanor
