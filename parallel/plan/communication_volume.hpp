// Bytes that one rank sends in one step, axis by axis, from the layout alone.
// Law: a collective in a ring moves (n-1)/n of its whole tensor a rank: all-gather and reduce-scatter of S bytes each
// send (n-1)/n * S (Thakur et al. 2005). Activations and weights travel in the compute type (to experts also as FP8),
// gradients of weights in the accumulation type. T tokens of a micro-batch over cp*tp; D width; b bytes of an element;
// M micro-batches.
#pragma once

#include <cstdint>
#include <span>

#include "parallel/process_mesh.hpp"
#include "src/base/dtype.hpp"
#include "src/model/model_part.hpp"
#include "src/nn/recompute.hpp"

namespace athanor {

/// Bytes a rank sends in a step.
struct CommunicationVolume {
  double tp = 0.0;  ///< gathers and reduce-scatters of the residual stream and latents
  double cp = 0.0;  ///< keys and values, or their latents, and their gradients
  double ep_between_nodes = 0.0, ep_within_nodes = 0.0;
  double pp = 0.0;              ///< activations to the chunks behind, gradients to the chunks before
  double reduce_scatter = 0.0;  ///< of gradients, over dp*cp, dp*cp*tp, edp or both ends of the pipeline
  double all_gather = 0.0;      ///< of updated weights, over the same ranks

  double total() const { return tp + cp + ep_between_nodes + ep_within_nodes + pp + reduce_scatter + all_gather; }
};

/// What decides how far tokens travel.
struct NodeShape {
  std::int64_t ranks_per_node = 8;
};

/// Most nodes that a token's experts stand on: with G groups of experts over N nodes and M groups a token, K experts.
/// Source: DeepSeek-V3 report section 2.1.2, node-limited routing.
std::int64_t nodes_reached(const ModelConfig& config, std::int64_t nodes);
/// Different ranks among `ranks` that K experts, chosen evenly, stand on: ranks * (1 - (1 - 1/ranks)^K).
double ranks_reached(double ranks, std::int64_t experts_per_token);

/// What passes a rank in one step.
struct PipelineTraffic {
  std::int64_t tokens = 0;  ///< T of a micro-batch
  std::int64_t micro_batches = 1;
  std::int64_t messages = 0;  ///< that the rank sends to pipeline neighbours for one micro-batch
  Recompute recompute = Recompute::none;
};

/// @param parts  the chunks of the rank.
CommunicationVolume communication_volume(const ModelConfig& config, DType dtype, const MeshShape& shape,
                                         const NodeShape& node, std::span<const ModelPart> parts,
                                         const PipelineTraffic& traffic);

}  // namespace athanor
