#include "parallel/plan/layout_plan.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "src/base/error.hpp"
#include "src/model/parameter_names.hpp"

namespace athanor {
namespace {

StepCut cut_step(const PlanQuestion& question, const MeshShape& shape) {
  const std::int64_t share = question.batch_sequences / shape.dp;
  if (question.batch_sequences % shape.dp != 0 || share == 0)
    throw ConfigError(fmt::format("data.batch_sequences = {}: wanted a multiple of the {} data-parallel ranks",
                                  question.batch_sequences, shape.dp));
  const std::int64_t rows =
      question.micro_batch_sequences > 0 ? std::min(question.micro_batch_sequences, share) : share;
  return {.tokens = rows * question.sequence_length, .micro_batches = (share + rows - 1) / rows};
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
  const auto parts = split_layers(question.model, shape.pp);
  for (std::size_t rank = 0; rank < parts.size(); ++rank) {
    const ModelPart& part = parts[rank];
    const auto pp_rank = static_cast<std::int64_t>(rank);
    plan.pipeline.push_back(
        {.part = part,
         .in_flight = std::min(shape.pp - pp_rank, step.micro_batches),
         .memory = estimate_memory(question.model, question.dtype, question.adamw, part, sizes, step),
         .sent = communication_volume(question.model, question.dtype, shape, question.node, part, pp_rank, step.tokens,
                                      step.micro_batches)});
    const PartCount count = part_count(question.model, part);
    plan.parameters += count.main;
    plan.mtp_parameters += count.mtp;
    plan.copied_parameters += count.copied;
  }
  return plan;
}

}  // namespace athanor
