// athanor plan --config MODEL --config CLUSTER: what every pipeline rank of a layout holds and sends.
#include <fmt/format.h>

#include <algorithm>

#include "io/options/configuration.hpp"
#include "io/options/invocation.hpp"
#include "jobs/commands/commands.hpp"
#include "parallel/plan/layout_plan.hpp"

namespace athanor {
namespace {

double gib(std::int64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(std::int64_t{1} << 30); }
double gb(double bytes) { return bytes * 1e-9; }

std::string layers_of(const ModelPart& part) {
  std::string text = part.layer_end - part.layer_begin == 1
                         ? fmt::format("{}", part.layer_begin)
                         : fmt::format("{}-{}", part.layer_begin, part.layer_end - 1);
  if (part.has_embedding) text = "emb " + text;
  if (part.has_head) text += " head";
  return text;
}

void print_memory(const LayoutPlan& plan) {
  fmt::print(
      "\nMemory of a rank, GiB; 1F1B\n{:>4} {:<14} {:>14} {:>8} {:>9} {:>9} {:>9} {:>9} {:>11} {:>9} {:>8} {:>8}\n",
      "pp", "layers", "parameters", "weights", "gradients", "optimizer", "in flight", "act. each", "activations",
      "transient", "buffers", "total");
  for (std::size_t rank = 0; rank < plan.pipeline.size(); ++rank) {
    const auto& [part, in_flight, memory, sent] = plan.pipeline[rank];
    fmt::print("{:>4} {:<14} {:>14} {:>8.2f} {:>9.2f} {:>9.2f} {:>9} {:>9.3f} {:>11.2f} {:>9.2f} {:>8.3f} {:>8.2f}\n",
               rank, layers_of(part), memory.parameters, gib(memory.weights), gib(memory.gradients),
               gib(memory.optimizer), in_flight, gib(memory.activations_per_micro_batch),
               gib(in_flight * memory.activations_per_micro_batch), gib(memory.transient), gib(memory.buffers),
               gib(memory.total(in_flight)));
  }
  const auto [least, most] = std::minmax_element(
      plan.pipeline.begin(), plan.pipeline.end(),
      [](const auto& a, const auto& b) { return a.memory.total(a.in_flight) < b.memory.total(b.in_flight); });
  fmt::print("least {:.2f} GiB, most {:.2f} GiB\n", gib(least->memory.total(least->in_flight)),
             gib(most->memory.total(most->in_flight)));
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

void print_plan(const LayoutPlan& plan, const PlanQuestion& question) {
  const MeshShape& shape = plan.shape;
  fmt::print("{} ranks: pp {} dp {} cp {} tp {}; experts: ep {} edp {}; nodes of {}\n", shape.ranks(), shape.pp,
             shape.dp, shape.cp, shape.tp, shape.ep, shape.edp(), question.node.ranks_per_node);
  fmt::print(
      "{}: {} sequences of {} tokens a step; micro-batches of {} tokens, {} of them in every data-parallel rank\n",
      to_string(question.dtype), question.batch_sequences, question.sequence_length, plan.tokens_per_micro_batch,
      plan.micro_batches);
  fmt::print("{} parameters", plan.parameters);
  if (plan.mtp_parameters > 0) fmt::print(", {} in MTP modules", plan.mtp_parameters);
  if (plan.copied_parameters > 0) fmt::print(", {} in copies of the embedding", plan.copied_parameters);
  fmt::print("\n");
  print_memory(plan);
  print_messages(plan);
}

}  // namespace

int plan_command(const std::vector<std::string>& words, HostGroup& world) {
  PlanQuestion question;
  OptionTable own;
  own.section("", "plan");
  own.add("ranks", question.ranks, "ranks", "of the job; 0: the product of the axes of [parallel]");
  own.add("ranks_per_node", question.node.ranks_per_node, "ranks", "that share a node", kPositive);
  JobOptions shown;
  OptionTable shared;
  describe(shared, shown);
  const Invocation invocation = parse_invocation(words, {{&own, &shared}, ""});
  if (invocation.help) {
    if (world.rank() == 0)
      fmt::print(
          "athanor plan --config MODEL --config CLUSTER   (what every pipeline rank holds and sends; nothing is "
          "allocated)\n\n{}\n{}",
          own.help(), shared.help());
    return kExitComplete;
  }
  const Configuration configuration(invocation.assignments, own);
  configuration.apply(own);
  configuration.validate("");
  const JobOptions options = configuration.job();
  question.model = options.model;
  question.dtype = options.run.dtype;
  question.adamw = options.optimizer.adamw;
  question.shape = {.pp = options.parallel.pp,
                    .dp = options.parallel.dp,
                    .cp = options.parallel.cp,
                    .tp = options.parallel.tp,
                    .ep = options.parallel.ep};
  question.sequence_length = options.data.sequence_length;
  question.batch_sequences = options.data.batch_sequences;
  question.micro_batch_sequences = options.data.micro_batch_sequences;
  const LayoutPlan plan = plan_layout(question);
  if (world.rank() == 0) print_plan(plan, question);
  return kExitComplete;
}

}  // namespace athanor
