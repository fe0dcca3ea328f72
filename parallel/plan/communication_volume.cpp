#include "parallel/plan/communication_volume.hpp"

#include <algorithm>
#include <cmath>

#include "src/backend/operand_shapes.hpp"

namespace athanor {
namespace {

double ring_share(std::int64_t ranks) { return static_cast<double>(ranks - 1) / static_cast<double>(ranks); }

/// Columns that the blocks, ends and MTP modules of a part move, summed over them.
struct Widths {
  double tp = 0.0;            ///< of T/cp rows
  double cp = 0.0;            ///< of T rows
  double expert_trips = 0.0;  ///< of tokens to their experts, and as many back
};

void add_block(Widths& widths, const ModelConfig& c, const MeshShape& shape, DType dtype, Recompute recompute,
               bool is_moe) {
  // How often what F moves is moved: recomputed whole, once more in I.
  const double forwards = recompute == Recompute::full ? 2.0 : 1.0;
  const auto dim = static_cast<double>(c.dim);
  // F of a pair of linears: the first, cut by columns, gathers its input of `width`; the second reduce-scatters its
  // output. I gathers that one's gradient and the input again, and reduce-scatters its gradient (Korthikanti et al.
  // 2022, section 4.2.2).
  const auto pair = [&](double width) { return forwards * (width + dim) + dim + 2.0 * width; };
  if (c.attention == AttentionKind::mla) {
    // Latents are computed on the shards: what is gathered is the query's latent and the compressed keys and values.
    const auto latent = static_cast<double>(c.kv_lora_rank + c.qk_rope_head_dim);
    widths.tp += pair(static_cast<double>(c.q_lora_rank > 0 ? c.q_lora_rank : c.dim)) + (forwards + 1.0) * latent;
    widths.cp += (forwards + 1.0) * latent;
  } else {
    widths.tp += pair(dim);
    const double again = recompute == Recompute::none ? 1.0 : 2.0;  // keys and values are computed again
    widths.cp += (again + 1.0) * 2.0 * static_cast<double>(c.num_kv_heads / shape.tp * c.head_dim);
  }
  if (!is_moe || c.num_shared_experts > 0) widths.tp += pair(dim);
  if (!is_moe) return;
  // Dispatch and combine; in I the transpose of combine and that of dispatch.
  widths.expert_trips += forwards + 1.0;
  if (c.balance_loss_alpha == 0.0) return;
  // The balance loss looks at whole sequences: all scores, in the accumulation type.
  const double scores = forwards * static_cast<double>(c.num_routed_experts) *
                        static_cast<double>(size_bytes(accumulation_dtype(dtype))) /
                        static_cast<double>(size_bytes(dtype));
  widths.tp += scores;
  widths.cp += scores;
}

void add_part(Widths& widths, const ModelConfig& c, const MeshShape& shape, DType dtype, Recompute recompute,
              const ModelPart& part) {
  for (std::int64_t layer = part.layer_begin; layer < part.layer_end; ++layer)
    add_block(widths, c, shape, dtype, recompute, c.is_moe_layer(layer));
  // Vocabulary-parallel: the embedding reduce-scatters rows and gathers their gradients; the head the other way round.
  const double vocabulary = 2.0 * static_cast<double>(c.dim);
  if (part.has_embedding) widths.tp += vocabulary;
  if (part.has_head) {
    widths.tp += vocabulary;
    for (std::int64_t module = 0; module < c.mtp_depth; ++module) {
      add_block(widths, c, shape, dtype, recompute, c.num_routed_experts > 0);
      widths.tp += 2.0 * vocabulary;
    }
  }
}

/// Rows that one rank sends for one of its tokens in one direction: to other nodes, and within a node.
struct RowsSent {
  double between_nodes = 0.0, within_nodes = 0.0;
};

RowsSent expert_rows(const ModelConfig& c, const MeshShape& shape, const NodeShape& node) {
  if (shape.ep == 1) return {};
  const std::int64_t here = std::min(shape.ep, node.ranks_per_node), nodes = shape.ep / here;
  // A token goes once to each node, to the rank there with the sender's place, which hands it on within the node
  // (DeepSeek-V3 report section 3.2.2). Evenly routed, one node in N is the sender's own, one rank in n itself.
  const auto reached = static_cast<double>(nodes_reached(c, nodes));
  const double ranks = ranks_reached(reached * static_cast<double>(here), c.experts_per_token);
  return {reached * ring_share(nodes), ranks * ring_share(here)};
}

}  // namespace

std::int64_t nodes_reached(const ModelConfig& config, std::int64_t nodes) {
  const std::int64_t groups = config.num_expert_groups;
  // A group of experts spans nodes/groups nodes, or shares its node with others.
  const std::int64_t span = std::max<std::int64_t>(1, (nodes + groups - 1) / groups);
  return std::min({nodes, config.experts_per_token, config.num_limited_groups * span});
}

double ranks_reached(double ranks, std::int64_t experts_per_token) {
  return ranks * (1.0 - std::pow(1.0 - 1.0 / ranks, static_cast<double>(experts_per_token)));
}

CommunicationVolume communication_volume(const ModelConfig& config, DType dtype, const MeshShape& shape,
                                         const NodeShape& node, std::span<const ModelPart> parts,
                                         const PipelineTraffic& traffic) {
  const LayoutSizes sizes{.tp = shape.tp, .cp = shape.cp, .dp = shape.dp, .ep = shape.ep};
  const auto bytes = static_cast<double>(size_bytes(dtype)), count = static_cast<double>(traffic.micro_batches);
  const auto all_rows = static_cast<double>(traffic.tokens);
  const double query_rows = all_rows / static_cast<double>(shape.cp), rows = query_rows / static_cast<double>(shape.tp);
  const double row_bytes = static_cast<double>(config.dim) * bytes;
  Widths widths;
  for (const ModelPart& part : parts) add_part(widths, config, shape, dtype, traffic.recompute, part);

  CommunicationVolume volume;
  volume.tp = count * ring_share(shape.tp) * query_rows * widths.tp * bytes;
  volume.cp = count * ring_share(shape.cp) * all_rows * widths.cp * bytes;
  const RowsSent sent = expert_rows(config, shape, node);
  // To experts rows may go as packed FP8; they return in the compute type.
  const double there = config.dispatches_fp8() ? static_cast<double>(fp8_row_bytes(config.dim)) : row_bytes;
  const double trips = count * widths.expert_trips * rows * (there + row_bytes);
  volume.ep_between_nodes = trips * sent.between_nodes;
  volume.ep_within_nodes = trips * sent.within_nodes;
  volume.pp = static_cast<double>(traffic.messages) * count * rows * row_bytes;
  for (const ModelPart& part : parts)
    for (const HeldTensor& tensor : held_tensors(config, dtype, part, sizes)) {
      const double moved = static_cast<double>(tensor.numel) * ring_share(ranks_of(tensor.reduced, sizes));
      volume.reduce_scatter += moved * static_cast<double>(size_bytes(accumulation_dtype(tensor.dtype)));
      volume.all_gather += moved * static_cast<double>(size_bytes(tensor.dtype));
    }
  return volume;
}

}  // namespace athanor
