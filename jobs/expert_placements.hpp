// Experts placed by measured load, layer by layer: planned by `evaluate`, kept in a JSON file, used by `evaluate` and
// `generate`. {"slots": P, "ranks": R, "layers": {"layers.3": [expert in slot 0, slot 1, ...], ...}}
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "parallel/expert/placement.hpp"

namespace athanor {

using ExpertPlacements = std::map<std::string, ExpertPlacement>;

/// One placement a layer. @throws ConfigError when the shape does not divide.
ExpertPlacements plan_placements(const std::map<std::string, std::vector<std::int64_t>>& loads_of_layer,
                                 const PlacementShape& shape);
/// Load of the busiest rank over the mean, the worst layer's; `placements` empty: experts in order.
double worst_imbalance(const std::map<std::string, std::vector<std::int64_t>>& loads_of_layer,
                       const ExpertPlacements& placements, std::int64_t ranks);

void write_placements(const std::filesystem::path& file, const ExpertPlacements& placements);
/// @throws ConfigError when the file is none, or is made for another number of ranks or experts.
ExpertPlacements read_placements(const std::filesystem::path& file, std::int64_t ranks, std::int64_t num_experts);

}  // namespace athanor
