#include "src/model/decode_traffic.hpp"

#include <cmath>

#include "src/model/kv_cache.hpp"
#include "src/model/parameter_names.hpp"

namespace athanor {
namespace {

constexpr double kFp8Bytes = 1.0 + 4.0 / (128.0 * 128.0);

/// Of V3's listed products: attention's and feed-forward matrices.
bool multiplies_in_fp8(const ModelConfig& config, LogicalTensor::Kind kind) {
  return config.fp8 && (kind == LogicalTensor::Kind::matrix || kind == LogicalTensor::Kind::expert_matrix);
}

}  // namespace

DecodeTraffic decode_traffic(const ModelConfig& config, DType dtype, CacheForm form, double rows, double context) {
  using Kind = LogicalTensor::Kind;
  DecodeTraffic bytes;
  const auto type_bytes = static_cast<double>(size_bytes(dtype));
  for (const LogicalTensor& tensor : logical_tensors(config)) {
    if (tensor.in_mtp || (tensor.kind == Kind::embedding && !config.head_is_embedding())) continue;
    const double tensor_bytes =
        static_cast<double>(tensor.shape.numel()) * (multiplies_in_fp8(config, tensor.kind) ? kFp8Bytes : type_bytes);
    (tensor.kind == Kind::expert_matrix ? bytes.experts : bytes.weights) += tensor_bytes;
  }
  if (config.num_routed_experts > 0) {
    const double chosen =
        static_cast<double>(config.experts_per_token) / static_cast<double>(config.num_routed_experts);
    bytes.experts *= 1.0 - std::pow(1.0 - chosen, rows);
  }
  bytes.cache = rows * (context + 1.0) *
                static_cast<double>(KvCache::numbers_per_token(config, form) * config.num_layers) * type_bytes;
  return bytes;
}

}  // namespace athanor
