#include "parallel/plan/layout_plan.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "parallel/pipeline/simulate.hpp"
#include "src/base/error.hpp"
#include "src/model/parameter_names.hpp"

namespace athanor {
namespace {

StepCut cut_step(const PlanQuestion& question, const MeshShape& shape) {
  // Ranks that share a pipeline or experts take equal parts; alone, some take one sequence more.
  const bool together = shape.pp > 1 || shape.ep > 1;
  const std::int64_t share = (question.batch_sequences + shape.dp - 1) / shape.dp;
  if (question.batch_sequences < shape.dp || (together && question.batch_sequences % shape.dp != 0))
    throw ConfigError(fmt::format("data.batch_sequences = {}: wanted a multiple of the {} data-parallel ranks",
                                  question.batch_sequences, shape.dp));
  const std::int64_t rows =
      question.micro_batch_sequences > 0 ? std::min(question.micro_batch_sequences, share) : share;
  return {.tokens = rows * question.sequence_length, .micro_batches = (share + rows - 1) / rows};
}

/// By number over the whole pipeline.
std::vector<ModelPart> chunks_of(const PlanQuestion& question, const PipelineSchedule& schedule) {
  std::vector<ModelPart> chunks = split_layers(question.model, schedule.num_chunks, question.layer_split);
  if (chunks.size() > 1 && schedule.chunk_rank.front() == schedule.chunk_rank.back())
    chunks.front().ends_meet = chunks.back().ends_meet = true;
  return chunks;
}

/// That a rank sends for one micro-batch: activations to the chunk behind, gradients to the one before.
std::int64_t messages_of(const PipelineSchedule& schedule, int rank) {
  std::int64_t count = 0;
  for (std::size_t chunk = 0; chunk + 1 < schedule.chunk_rank.size(); ++chunk) {
    const int here = schedule.chunk_rank[chunk], behind = schedule.chunk_rank[chunk + 1];
    if (here != behind) count += (here == rank ? 1 : 0) + (behind == rank ? 1 : 0);
  }
  return count;
}

}  // namespace

LayoutPlan plan_layout(const PlanQuestion& question) {
  question.model.validate();
  const MeshShape& asked = question.shape;
  if (question.node.ranks_per_node < 1)
    throw ConfigError(fmt::format("ranks_per_node = {}: wanted at least 1", question.node.ranks_per_node));
  if (question.ranks == 0 && asked.dp == 0)
    throw ConfigError("parallel.dp = 0 leaves the number of ranks open; give it, or the number of --ranks");
  LayoutPlan plan;
  plan.shape = asked.resolved(question.ranks > 0 ? question.ranks : asked.ranks());
  const MeshShape& shape = plan.shape;
  const LayoutSizes sizes{.tp = shape.tp, .cp = shape.cp, .dp = shape.dp, .ep = shape.ep};
  if (shape.ep > question.node.ranks_per_node && shape.ep % question.node.ranks_per_node != 0)
    throw ConfigError(fmt::format("parallel.ep = {}: wanted a multiple of the {} ranks of a node, or at most those",
                                  shape.ep, question.node.ranks_per_node));
  const StepCut step = cut_step(question, shape);
  plan.tokens_per_micro_batch = step.tokens;
  plan.micro_batches = step.micro_batches;
  const PipelineSchedule schedule =
      question.schedule.make(static_cast<int>(shape.pp), static_cast<int>(step.micro_batches));
  plan.idle_share = simulate(schedule, ActionTimes{}).idle_share();
  const std::vector<ModelPart> chunks = chunks_of(question, schedule);
  std::vector<ActivationMemory> activations;
  for (const ModelPart& chunk : chunks)
    activations.push_back(
        activation_memory(question.model, question.dtype, chunk, sizes, step.tokens, question.recompute));
  const std::vector<ActivationPeak> peaks = activation_peaks(schedule, activations);
  for (std::size_t rank = 0; rank < peaks.size(); ++rank) {
    PipelineRankPlan one{.parts = {}, .activations = peaks[rank], .memory = {}, .sent = {}};
    PipelineTraffic traffic{.tokens = step.tokens,
                            .micro_batches = step.micro_batches,
                            .messages = messages_of(schedule, static_cast<int>(rank)),
                            .recompute = question.recompute};
    for (std::size_t chunk = 0; chunk < chunks.size(); ++chunk)
      if (schedule.chunk_rank[chunk] == static_cast<int>(rank)) one.parts.push_back(chunks[chunk]);
    one.memory = estimate_memory(question.model, question.dtype, question.adamw, one.parts, sizes, step);
    one.sent = communication_volume(question.model, question.dtype, shape, question.node, one.parts, traffic);
    for (const ModelPart& part : one.parts) {
      const PartCount count = part_count(question.model, part);
      plan.parameters += count.main;
      plan.mtp_parameters += count.mtp;
      plan.copied_parameters += count.copied;
    }
    plan.pipeline.push_back(std::move(one));
  }
  return plan;
}

const PipelineRankPlan& LayoutPlan::fullest() const {
  return *std::max_element(pipeline.begin(), pipeline.end(),
                           [](const auto& a, const auto& b) { return a.total_bytes() < b.total_bytes(); });
}

}  // namespace athanor
