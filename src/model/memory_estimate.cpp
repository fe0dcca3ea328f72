#include "src/model/memory_estimate.hpp"

#include <fmt/format.h>

#include <map>
#include <utility>
#include <vector>

#include "src/backend/storage.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

constexpr std::int64_t kAlignElements = 64;  // ParameterStore starts every parameter on such a multiple

std::int64_t block(std::int64_t numel, DType dtype) {
  const auto bytes = static_cast<std::size_t>(numel) * size_bytes(dtype);
  return bytes == 0 ? 0 : static_cast<std::int64_t>(Arena::block_bytes(bytes));
}

void add_parameters(MemoryEstimate& estimate, const std::vector<HeldTensor>& tensors, const AdamWOptions& adamw,
                    const LayoutSizes& sizes) {
  // A flat tensor for each type and reduction.
  std::map<std::pair<DType, ReducedOver>, std::int64_t> flat;
  for (const HeldTensor& tensor : tensors) {
    estimate.parameters += tensor.numel;
    if (tensor.is_copy) estimate.copied_parameters += tensor.numel;
    // Straight and transposed; the scales are one number in 16,384.
    if (tensor.in_fp8) estimate.weights += 2 * block(tensor.numel, DType::u8);
    const bool merges = sizes.tp == 1 && tensor.reduced == ReducedOver::dp_cp_tp;
    flat[{tensor.dtype, merges ? ReducedOver::dp_cp : tensor.reduced}] +=
        (tensor.numel + kAlignElements - 1) / kAlignElements * kAlignElements;
  }
  for (const auto& [group, numel] : flat) {
    const auto [dtype, reduced] = group;
    const DType acc = accumulation_dtype(dtype);
    const std::int64_t ranks = ranks_of(reduced, sizes), owned = (numel + ranks - 1) / ranks;
    estimate.weights += block(numel, dtype);
    estimate.gradients += block(numel, acc);
    if (dtype != acc) estimate.optimizer += block(owned, acc);
    estimate.optimizer += 2 * block(owned, adamw.bf16_moments ? DType::bf16 : acc);
  }
}

/// Of one part: tables and routers.
std::int64_t part_buffers(const ModelConfig& config, DType dtype, const ModelPart& part) {
  const DType acc = accumulation_dtype(dtype);
  const std::int64_t rope_dim = config.attention == AttentionKind::mla ? config.qk_rope_head_dim : config.head_dim;
  std::int64_t routers = part.has_head && config.num_routed_experts > 0 ? config.mtp_depth : 0;
  for (std::int64_t layer = part.layer_begin; layer < part.layer_end; ++layer)
    routers += config.is_moe_layer(layer) ? 1 : 0;
  return 2 * block(config.max_positions * rope_dim / 2, acc) +
         routers * (block(config.num_routed_experts, acc) + block(config.num_routed_experts, DType::i64));
}

/// The micro-batches of a step, which all chunks of a rank share.
std::int64_t batch_buffers(const ModelConfig& config, DType acc, const LayoutSizes& sizes, const StepCut& step) {
  const std::int64_t rows = step.tokens / sizes.cp;
  // Tokens, positions, first key, target; loss weight. An MTP module's tokens, targets and weights.
  const std::int64_t inputs = 4 * block(rows, DType::i32) + block(rows, acc);
  const std::int64_t mtp_inputs = config.mtp_depth * (2 * block(rows, DType::i32) + block(rows, acc));
  return step.micro_batches * (inputs + mtp_inputs);
}

}  // namespace

MemoryEstimate estimate_memory(const ModelConfig& config, DType dtype, const AdamWOptions& adamw,
                               std::span<const ModelPart> parts, const LayoutSizes& sizes, const StepCut& step) {
  sizes.validate(config);
  if (step.tokens <= 0 || step.tokens % (sizes.cp * sizes.tp) != 0)
    throw ConfigError(
        fmt::format("a micro-batch of {} tokens does not split over parallel.cp * parallel.tp = {} * {} ranks; change "
                    "data.sequence_length or data.micro_batch_sequences",
                    step.tokens, sizes.cp, sizes.tp));
  MemoryEstimate estimate;
  std::vector<HeldTensor> held;
  estimate.buffers = batch_buffers(config, accumulation_dtype(dtype), sizes, step);
  for (const ModelPart& part : parts) {
    for (const HeldTensor& tensor : held_tensors(config, dtype, part, sizes)) held.push_back(tensor);
    estimate.buffers += part_buffers(config, dtype, part);
  }
  add_parameters(estimate, held, adamw, sizes);
  return estimate;
}

}  // namespace athanor
