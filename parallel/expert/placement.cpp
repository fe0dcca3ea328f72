#include "parallel/expert/placement.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "parallel/expert/indices.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

double largest(const std::vector<double>& values) { return *std::max_element(values.begin(), values.end()); }

void check_shape(std::int64_t num_experts, const PlacementShape& s) {
  if (s.num_ranks < 1 || s.num_nodes < 1 || s.num_groups < 1 || s.num_ranks % s.num_nodes != 0 ||
      s.num_slots % s.num_ranks != 0 || s.num_slots < num_experts || num_experts < 1 || num_experts % s.num_groups != 0)
    throw ConfigError(
        fmt::format("expert placement: {} experts in {} groups onto {} slots of {} ranks on {} nodes; wanted equal "
                    "groups, a slot for each expert at least, as many slots on every rank, and as many ranks on every "
                    "node",
                    num_experts, s.num_groups, s.num_slots, s.num_ranks, s.num_nodes));
}

}  // namespace

// ---- what a placement says

ExpertPlacement ExpertPlacement::contiguous(std::int64_t num_experts, std::int64_t ranks) {
  if (ranks < 1 || num_experts < 1 || num_experts % ranks != 0)
    throw ConfigError(
        fmt::format("expert parallelism: {} experts do not divide among ep = {} ranks; choose ep that divides them",
                    num_experts, ranks));
  ExpertPlacement placement{num_experts, ranks, std::vector<std::int64_t>(u(num_experts))};
  std::iota(placement.physical_to_logical.begin(), placement.physical_to_logical.end(), std::int64_t{0});
  return placement;
}

std::vector<std::int64_t> ExpertPlacement::held_by(std::int64_t rank) const {
  const auto first = physical_to_logical.begin() + rank * slots_per_rank();
  return {first, first + slots_per_rank()};
}

std::vector<std::vector<std::int64_t>> ExpertPlacement::logical_to_physical() const {
  std::vector<std::vector<std::int64_t>> slots_of(u(num_experts));
  for (std::size_t slot = 0; slot < physical_to_logical.size(); ++slot)
    slots_of[u(physical_to_logical[slot])].push_back(static_cast<std::int64_t>(slot));
  return slots_of;
}

std::vector<double> ExpertPlacement::rank_loads(std::span<const double> loads_E) const {
  std::vector<double> loads(u(ranks), 0.0);
  const auto slots_of = logical_to_physical();
  for (std::size_t slot = 0; slot < physical_to_logical.size(); ++slot) {
    const std::size_t expert = u(physical_to_logical[slot]);
    loads[slot / u(slots_per_rank())] += loads_E[expert] / static_cast<double>(slots_of[expert].size());
  }
  return loads;
}

void ExpertPlacement::validate() const {
  const auto slots = static_cast<std::int64_t>(physical_to_logical.size());
  if (ranks < 1 || num_experts < 1 || slots % ranks != 0)
    throw ConfigError(fmt::format("expert placement: {} slots for {} experts on {} ranks; wanted as many on every rank",
                                  slots, num_experts, ranks));
  std::vector<bool> placed(u(num_experts), false);
  for (const std::int64_t expert : physical_to_logical) {
    if (expert < 0 || expert >= num_experts)
      throw ConfigError(fmt::format("expert placement: a slot holds expert {}; wanted one of {}", expert, num_experts));
    placed[u(expert)] = true;
  }
  const auto missing = std::find(placed.begin(), placed.end(), false);
  if (missing != placed.end())
    throw ConfigError(fmt::format("expert placement: expert {} has no slot", missing - placed.begin()));
}

// ---- the planner

Packing balanced_packing(std::span<const double> loads, std::int64_t packs) {
  const auto items = static_cast<std::int64_t>(loads.size());
  if (packs < 1 || items % packs != 0)
    throw ConfigError(fmt::format("expert placement: {} items do not fill {} packs equally", items, packs));
  std::vector<std::int64_t> order(loads.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return loads[u(a)] > loads[u(b)]; });

  Packing packing{std::vector<std::int64_t>(loads.size()), std::vector<std::int64_t>(loads.size())};
  std::vector<double> load_of(u(packs), 0.0);
  std::vector<std::int64_t> filled(u(packs), 0);
  for (const std::int64_t item : order) {
    std::int64_t lightest = -1;
    for (std::int64_t pack = 0; pack < packs; ++pack)
      if (filled[u(pack)] < items / packs && (lightest < 0 || load_of[u(pack)] < load_of[u(lightest)])) lightest = pack;
    packing.pack_of[u(item)] = lightest;
    packing.place_in_pack[u(item)] = filled[u(lightest)]++;
    load_of[u(lightest)] += loads[u(item)];
  }
  return packing;
}

std::vector<std::int64_t> replicate(std::span<const double> loads, std::int64_t num_slots) {
  std::vector<std::int64_t> expert_of(loads.size());
  std::iota(expert_of.begin(), expert_of.end(), std::int64_t{0});
  std::vector<double> copies(loads.size(), 1.0);
  while (static_cast<std::int64_t>(expert_of.size()) < num_slots) {
    std::size_t hottest = 0;
    for (std::size_t e = 1; e < loads.size(); ++e)
      if (loads[e] / copies[e] > loads[hottest] / copies[hottest]) hottest = e;
    expert_of.push_back(static_cast<std::int64_t>(hottest));
    copies[hottest] += 1.0;
  }
  return expert_of;
}

ExpertPlacement plan_placement(std::span<const double> loads_E, const PlacementShape& shape) {
  const auto num_experts = static_cast<std::int64_t>(loads_E.size());
  check_shape(num_experts, shape);
  const bool hierarchical = shape.num_groups % shape.num_nodes == 0;
  const std::int64_t groups = hierarchical ? shape.num_groups : 1, nodes = hierarchical ? shape.num_nodes : 1;
  const std::int64_t group_size = num_experts / groups, groups_per_node = groups / nodes;
  const std::int64_t experts_per_node = num_experts / nodes, slots_per_node = shape.num_slots / nodes;
  const std::int64_t ranks_per_node = shape.num_ranks / nodes, slots_per_rank = shape.num_slots / shape.num_ranks;

  // Groups onto nodes: the experts of every node, group after group.
  std::vector<double> group_loads(u(groups), 0.0);
  for (std::int64_t e = 0; e < num_experts; ++e) group_loads[u(e / group_size)] += loads_E[u(e)];
  const Packing of_groups = balanced_packing(group_loads, nodes);
  std::vector<std::int64_t> experts_of_nodes(u(num_experts));
  for (std::int64_t e = 0; e < num_experts; ++e) {
    const std::size_t group = u(e / group_size);
    const std::int64_t place = of_groups.pack_of[group] * groups_per_node + of_groups.place_in_pack[group];
    experts_of_nodes[u(place * group_size + e % group_size)] = e;
  }

  ExpertPlacement plan{num_experts, shape.num_ranks, std::vector<std::int64_t>(u(shape.num_slots))};
  for (std::int64_t node = 0; node < nodes; ++node) {
    const std::span<const std::int64_t> experts(experts_of_nodes.data() + node * experts_per_node, u(experts_per_node));
    std::vector<double> loads;
    for (const std::int64_t expert : experts) loads.push_back(loads_E[u(expert)]);
    const std::vector<std::int64_t> copies = replicate(loads, slots_per_node);  // numbers within the node
    std::vector<double> number_of_copies(loads.size(), 0.0), copy_loads;
    for (const std::int64_t expert : copies) number_of_copies[u(expert)] += 1.0;
    for (const std::int64_t expert : copies) copy_loads.push_back(loads[u(expert)] / number_of_copies[u(expert)]);
    const Packing of_copies = balanced_packing(copy_loads, ranks_per_node);
    for (std::size_t copy = 0; copy < copies.size(); ++copy) {
      const std::int64_t place = of_copies.pack_of[copy] * slots_per_rank + of_copies.place_in_pack[copy];
      plan.physical_to_logical[u(node * slots_per_node + place)] = experts[u(copies[copy])];
    }
  }

  // The greedy packing is not always better than leaving things alone.
  if (shape.num_slots == num_experts) {
    ExpertPlacement unmoved = ExpertPlacement::contiguous(num_experts, shape.num_ranks);
    if (largest(unmoved.rank_loads(loads_E)) <= largest(plan.rank_loads(loads_E))) return unmoved;
  }
  return plan;
}

}  // namespace athanor
