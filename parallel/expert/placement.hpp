// Which rank holds which experts, and the planner that copies hot ones. Law: slot p of P lies on rank p / (P / ranks);
// every expert has at least one slot. Pure arithmetic on all ranks alike, deterministic: ties go to the lowest number.
// A plan with copies is for inference: in training the gradients of copies would have to be summed.
// Source: EPLB (deepseek-ai/EPLB), its published description and example; DeepSeek-V3 report, section 3.4.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace athanor {

struct ExpertPlacement {
  std::int64_t num_experts = 0, ranks = 1;
  std::vector<std::int64_t> physical_to_logical;  ///< the expert in every slot

  /// Experts in order, none twice: what training uses. @throws ConfigError when ranks does not divide num_experts.
  static ExpertPlacement contiguous(std::int64_t num_experts, std::int64_t ranks);

  std::int64_t slots_per_rank() const { return static_cast<std::int64_t>(physical_to_logical.size()) / ranks; }
  /// The experts in the slots of a rank.
  std::vector<std::int64_t> held_by(std::int64_t rank) const;
  /// The slots of every expert in rising order; their number is the number of copies.
  std::vector<std::vector<std::int64_t>> logical_to_physical() const;
  /// Load of every rank when the copies of an expert share its load equally.
  std::vector<double> rank_loads(std::span<const double> loads_E) const;
  /// @throws ConfigError when an expert has no slot, a slot no such expert, or ranks would hold different numbers.
  void validate() const;
};

/// What is placed on what.
struct PlacementShape {
  std::int64_t num_slots = 0;   ///< P >= E, a multiple of num_ranks
  std::int64_t num_groups = 1;  ///< routing groups: consecutive experts that stay on one node
  std::int64_t num_nodes = 1;   ///< of num_ranks / num_nodes consecutive ranks
  std::int64_t num_ranks = 1;
};

/// Balances measured loads over ranks. Where nodes divide groups, groups are packed onto nodes first, then each node
/// copies its hottest experts and packs the copies onto its ranks; else all is done as on one node. With P = E the
/// contiguous placement is kept when it is at least as balanced.
/// @param loads_E  tokens an expert served, or any other non-negative load.
/// @throws ConfigError when the shape does not divide.
ExpertPlacement plan_placement(std::span<const double> loads_E, const PlacementShape& shape);

/// Items onto packs of equal count, heaviest first, each onto the lightest pack with room. @returns pack of each item
/// and its place there.
struct Packing {
  std::vector<std::int64_t> pack_of, place_in_pack;
};
Packing balanced_packing(std::span<const double> loads, std::int64_t packs);

/// Gives every expert one slot, then each further slot to the expert with the largest load a copy.
/// @returns the expert in every slot.
std::vector<std::int64_t> replicate(std::span<const double> loads, std::int64_t num_slots);

}  // namespace athanor
