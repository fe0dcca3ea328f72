// What a layout costs, rank by rank of the pipeline, before anything is started: memory and messages.
// Law: all ranks of a pipeline rank's group hold as much as each other, so one of each is told. How many micro-batches
// are in flight, and what they hold at once, is read off the schedule that the run would follow.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/pipeline/schedule_plan.hpp"
#include "parallel/plan/activation_peak.hpp"
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
  SchedulePlan schedule;
  std::vector<std::int64_t> layer_split;  ///< layers of every chunk; empty: even
  Recompute recompute = Recompute::none;
  std::int64_t sequence_length = 0, batch_sequences = 0;
  std::int64_t micro_batch_sequences = 0;  ///< 0: a rank's whole share
};

struct PipelineRankPlan {
  std::vector<ModelPart> parts;  ///< the chunks of this rank, in their order
  ActivationPeak activations;
  MemoryEstimate memory;  ///< what is held whatever the pipeline does
  CommunicationVolume sent;

  std::int64_t total_bytes() const { return memory.total() + activations.highest; }
};

struct LayoutPlan {
  MeshShape shape;  ///< resolved
  std::int64_t tokens_per_micro_batch = 0, micro_batches = 0;
  double idle_share = 0.0;  ///< of the ranks' time, by the schedule alone, when F, I and W take the same time
  std::vector<PipelineRankPlan> pipeline;
  std::int64_t parameters = 0;         ///< of the main model, each once, as parameter_count counts
  std::int64_t mtp_parameters = 0;     ///< of the MTP modules, likewise
  std::int64_t copied_parameters = 0;  ///< second copies of the embedding

  const PipelineRankPlan& fullest() const;  ///< the pipeline rank that holds most bytes
};

/// @throws ConfigError naming the option that does not fit.
LayoutPlan plan_layout(const PlanQuestion& question);

}  // namespace athanor
