#include "src/model/parameter_count.hpp"

#include "src/model/parameter_names.hpp"

namespace athanor {

ParameterCount parameter_count(const ModelConfig& config) {
  using Kind = LogicalTensor::Kind;
  ParameterCount count;
  for (const LogicalTensor& tensor : logical_tensors(config)) {
    if (tensor.kind == Kind::router_bias && !config.router_sigmoid) continue;
    const std::int64_t numel = tensor.shape.numel();
    if (tensor.in_mtp) {
      count.mtp += numel;
      continue;
    }
    count.total += numel;
    const std::int64_t used =
        tensor.kind == Kind::expert_matrix ? numel / config.num_routed_experts * config.experts_per_token : numel;
    count.activated += used;
    const bool is_lookup_only = tensor.kind == Kind::embedding && !config.head_is_embedding();
    if (!is_lookup_only) count.activated_without_embedding += used;
  }
  return count;
}

}  // namespace athanor
