// athanor plan --config MODEL --config CLUSTER: what every pipeline rank of a layout holds and sends.
// athanor plan --config MODEL --compare=true --ranks=8: what a rank holds on each axis by itself.
#include <fmt/format.h>

#include <algorithm>

#include "io/options/configuration.hpp"
#include "io/options/invocation.hpp"
#include "jobs/commands/commands.hpp"
#include "jobs/layout_question.hpp"
#include "parallel/pipeline/make_schedules.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

double gib(std::int64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(std::int64_t{1} << 30); }
double gb(double bytes) { return bytes * 1e-9; }

const char* word_of(Recompute recompute) {
  switch (recompute) {
    case Recompute::none:
      return "nothing";
    case Recompute::selective:
      return "selectively";
    case Recompute::full:
      return "whole blocks";
  }
  return "";
}

/// "emb 0-2", "3-4 + 59-60 head": the layers of each chunk.
std::string layers_of(const std::vector<ModelPart>& parts) {
  std::string text;
  for (const ModelPart& part : parts) {
    if (!text.empty()) text += " + ";
    if (part.has_embedding) text += "emb ";
    if (part.layer_end - part.layer_begin == 1) text += fmt::format("{}", part.layer_begin);
    if (part.layer_end - part.layer_begin > 1) text += fmt::format("{}-{}", part.layer_begin, part.layer_end - 1);
    if (part.has_head) text += part.layer_begin == part.layer_end ? "head" : " head";
  }
  return text;
}

void print_memory(const LayoutPlan& plan) {
  std::size_t width = 6;
  for (const PipelineRankPlan& rank : plan.pipeline) width = std::max(width, layers_of(rank.parts).size());
  fmt::print("\nMemory of a rank, GiB\n{:>4} {:<{}} {:>14} {:>8} {:>9} {:>9} {:>8} {:>9} {:>8} {:>11} {:>8}\n", "pp",
             "layers", width, "parameters", "weights", "gradients", "optimizer", "buffers", "in flight", "at rest",
             "activations", "total");
  for (std::size_t rank = 0; rank < plan.pipeline.size(); ++rank) {
    const auto& [parts, activations, memory, sent] = plan.pipeline[rank];
    fmt::print("{:>4} {:<{}} {:>14} {:>8.2f} {:>9.2f} {:>9.2f} {:>8.3f} {:>9} {:>8.2f} {:>11.2f} {:>8.2f}\n", rank,
               layers_of(parts), width, memory.parameters, gib(memory.weights), gib(memory.gradients),
               gib(memory.optimizer), gib(memory.buffers), activations.in_flight, gib(activations.at_rest),
               gib(activations.highest), gib(plan.pipeline[rank].total_bytes()));
  }
  fmt::print(
      "in flight: micro-batches between F and W, chunk by chunk; at rest: what is kept of them between two actions, at "
      "most;\nactivations: at the peak, temporaries included; most of a rank {:.2f} GiB\n",
      gib(plan.fullest().total_bytes()));
}

void print_messages(const LayoutPlan& plan) {
  fmt::print("\nSent by a rank in a step, GB\n{:>4} {:>8} {:>8} {:>9} {:>9} {:>8} {:>14} {:>10} {:>8}\n", "pp", "tp",
             "cp", "ep, nodes", "ep, node", "pp", "reduce-scatter", "all-gather", "total");
  for (std::size_t rank = 0; rank < plan.pipeline.size(); ++rank) {
    const CommunicationVolume& sent = plan.pipeline[rank].sent;
    fmt::print("{:>4} {:>8.2f} {:>8.2f} {:>9.2f} {:>9.2f} {:>8.2f} {:>14.2f} {:>10.2f} {:>8.2f}\n", rank, gb(sent.tp),
               gb(sent.cp), gb(sent.ep_between_nodes), gb(sent.ep_within_nodes), gb(sent.pp), gb(sent.reduce_scatter),
               gb(sent.all_gather), gb(sent.total()));
  }
  fmt::print("ep, nodes: between nodes; ep, node: within them; both bounds for evenly loaded experts\n");
}

void print_model(const LayoutPlan& plan) {
  fmt::print("{} parameters", plan.parameters);
  if (plan.mtp_parameters > 0) fmt::print(", {} in MTP modules", plan.mtp_parameters);
  if (plan.copied_parameters > 0) fmt::print(", {} in copies of the embedding", plan.copied_parameters);
  fmt::print("\n");
}

void print_plan(const LayoutPlan& plan, const PlanQuestion& question) {
  const MeshShape& shape = plan.shape;
  fmt::print("{} ranks: pp {} dp {} cp {} tp {}; experts: ep {} edp {}; nodes of {}\n", shape.ranks(), shape.pp,
             shape.dp, shape.cp, shape.tp, shape.ep, shape.edp(), question.node.ranks_per_node);
  fmt::print(
      "{}: {} sequences of {} tokens a step; micro-batches of {} tokens, {} of them in every data-parallel rank\n",
      to_string(question.dtype), question.batch_sequences, question.sequence_length, plan.tokens_per_micro_batch,
      plan.micro_batches);
  fmt::print("schedule {}, idle {:.1f} % of the time when F, I and W take the same; recomputed: {}\n",
             question.schedule.given ? question.schedule.given->name : question.schedule.name, 100.0 * plan.idle_share,
             word_of(question.recompute));
  print_model(plan);
  print_memory(plan);
  print_messages(plan);
}

/// A row of the comparison.
struct Layout {
  std::string name;
  MeshShape shape = {.dp = 1};
  std::string schedule = "1f1b";
  Recompute recompute = Recompute::none;
};

std::vector<Layout> layouts_on(std::int64_t n, bool has_experts) {
  std::vector<Layout> list = {
      {.name = "1 rank"},
      {.name = "1 rank, recompute selective", .recompute = Recompute::selective},
      {.name = "1 rank, recompute full", .recompute = Recompute::full},
      {.name = fmt::format("dp {} (ZeRO-1)", n), .shape = {.dp = n}},
      {.name = fmt::format("tp {}", n), .shape = {.dp = 1, .tp = n}},
      {.name = fmt::format("cp {}", n), .shape = {.dp = 1, .cp = n}},
  };
  if (has_experts) list.push_back({.name = fmt::format("dp {} ep {}", n, n), .shape = {.dp = n, .ep = n}});
  for (const std::string& schedule : schedule_names())
    list.push_back({.name = fmt::format("pp {} {}", n, schedule), .shape = {.pp = n, .dp = 1}, .schedule = schedule});
  list.push_back({.name = fmt::format("pp {} 1f1b, recompute full", n),
                  .shape = {.pp = n, .dp = 1},
                  .recompute = Recompute::full});
  return list;
}

void print_comparison(PlanQuestion question) {
  const std::int64_t ranks = question.ranks > 0 ? question.ranks : 8;
  question.layer_split.clear();
  fmt::print("{}: {} sequences of {} tokens a step, {} in a micro-batch; the fullest rank of each layout\n\n",
             to_string(question.dtype), question.batch_sequences, question.sequence_length,
             question.micro_batch_sequences > 0 ? std::to_string(question.micro_batch_sequences) : "a rank's share");
  fmt::print(
      "| layout | parameters, M | weights, GiB | gradients | optimizer | activations | total, GiB | sent a step, GB "
      "|\n");
  fmt::print("|---|--:|--:|--:|--:|--:|--:|--:|\n");
  for (const Layout& layout : layouts_on(ranks, question.model.num_routed_experts > 0)) {
    question.shape = layout.shape;
    question.ranks = 0;
    question.schedule = {layout.schedule};
    question.recompute = layout.recompute;
    try {
      const LayoutPlan plan = plan_layout(question);
      const PipelineRankPlan& rank = plan.fullest();
      fmt::print("| {} | {:.0f} | {:.2f} | {:.2f} | {:.2f} | {:.2f} | {:.2f} | {:.2f} |\n", layout.name,
                 static_cast<double>(rank.memory.parameters) * 1e-6, gib(rank.memory.weights),
                 gib(rank.memory.gradients), gib(rank.memory.optimizer),
                 gib(rank.activations.highest + rank.memory.buffers), gib(rank.total_bytes()), gb(rank.sent.total()));
    } catch (const ConfigError& error) {
      fmt::print("| {} | impossible: {} |\n", layout.name, error.what());
    }
  }
}

}  // namespace

int plan_command(const std::vector<std::string>& words, HostGroup& world) {
  std::int64_t ranks = 0, ranks_per_node = 8;
  bool compare = false;
  OptionTable own;
  own.section("", "plan");
  own.add("ranks", ranks, "ranks", "of the job; 0: the product of the axes of [parallel], or 8 for a comparison");
  own.add("ranks_per_node", ranks_per_node, "ranks", "that share a node", kPositive);
  own.add("compare", compare, "a table of the axes, each by itself on all ranks, in place of the layout's own");
  JobOptions shown;
  OptionTable shared;
  describe(shared, shown);
  const Invocation invocation = parse_invocation(words, {{&own, &shared}, ""});
  if (invocation.help) {
    if (world.rank() == 0)
      fmt::print(
          "athanor plan --config MODEL --config CLUSTER   (what every pipeline rank holds and sends; nothing is "
          "allocated)\nathanor plan --config MODEL --compare=true [--ranks=8]   (each axis by itself)\n\n{}\n{}",
          own.help(), shared.help());
    return kExitComplete;
  }
  const Configuration configuration(invocation.assignments, own);
  configuration.apply(own);
  configuration.validate("");
  PlanQuestion question = layout_question(configuration.job(), ranks);
  question.node.ranks_per_node = ranks_per_node;
  if (compare) {
    if (world.rank() == 0) print_comparison(question);
    return kExitComplete;
  }
  const LayoutPlan plan = plan_layout(question);
  if (world.rank() == 0) print_plan(plan, question);
  return kExitComplete;
}

}  // namespace athanor
