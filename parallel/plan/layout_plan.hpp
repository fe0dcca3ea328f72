// What a layout costs, rank by rank of the pipeline, before anything is started: memory and messages.
// Law: all ranks of a pipeline rank's group hold as much as each other, so one of each is told. Schedule 1F1B: pipeline
// rank r of p keeps min(p - r, M) micro-batches in flight (Narayanan et al. 2021).
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/plan/communication_volume.hpp"
#include "src/model/memory_estimate.hpp"

namespace athanor {

struct PlanQuestion {
  ModelConfig model;
  DType dtype = DType::bf16;
  AdamWOptions adamw;
  MeshShape shape;         ///< dp given or 0 with `ranks`
  std::int64_t ranks = 0;  ///< of the job; 0: the product of the axes
  NodeShape node;
  std::int64_t sequence_length = 0, batch_sequences = 0;
  std::int64_t micro_batch_sequences = 0;  ///< 0: a rank's whole share
};

struct PipelineRankPlan {
  ModelPart part;
  std::int64_t in_flight = 1;
  MemoryEstimate memory;
  CommunicationVolume sent;
};

struct LayoutPlan {
  MeshShape shape;  ///< resolved
  std::int64_t tokens_per_micro_batch = 0, micro_batches = 0;
  std::vector<PipelineRankPlan> pipeline;
  std::int64_t parameters = 0;         ///< of the main model, each once, as parameter_count counts
  std::int64_t mtp_parameters = 0;     ///< of the MTP modules, likewise
  std::int64_t copied_parameters = 0;  ///< second copies of the embedding
};

/// @throws ConfigError naming the option that does not fit.
LayoutPlan plan_layout(const PlanQuestion& question);

}  // namespace athanor
