#include "jobs/expert_placements.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "src/base/error.hpp"

namespace athanor {

ExpertPlacements plan_placements(const std::map<std::string, std::vector<std::int64_t>>& loads_of_layer,
                                 const PlacementShape& shape) {
  ExpertPlacements placements;
  for (const auto& [layer, counts] : loads_of_layer) {
    const std::vector<double> loads(counts.begin(), counts.end());
    placements[layer] = plan_placement(loads, shape);
  }
  return placements;
}

double worst_imbalance(const std::map<std::string, std::vector<std::int64_t>>& loads_of_layer,
                       const ExpertPlacements& placements, std::int64_t ranks) {
  double worst = 1.0;
  for (const auto& [layer, counts] : loads_of_layer) {
    const std::vector<double> loads(counts.begin(), counts.end());
    const auto placed = placements.find(layer);
    const auto on_ranks =
        (placed == placements.end() ? ExpertPlacement::contiguous(static_cast<std::int64_t>(loads.size()), ranks)
                                    : placed->second)
            .rank_loads(loads);
    const double total = std::accumulate(on_ranks.begin(), on_ranks.end(), 0.0);
    if (total > 0.0)
      worst = std::max(worst, *std::max_element(on_ranks.begin(), on_ranks.end()) * static_cast<double>(ranks) / total);
  }
  return worst;
}

void write_placements(const std::filesystem::path& file, const ExpertPlacements& placements) {
  nlohmann::json json{{"slots", 0}, {"ranks", 0}, {"layers", nlohmann::json::object()}};
  for (const auto& [layer, placement] : placements) {
    json["slots"] = placement.physical_to_logical.size();
    json["ranks"] = placement.ranks;
    json["layers"][layer] = placement.physical_to_logical;
  }
  std::ofstream(file) << json.dump(1) << '\n';
}

ExpertPlacements read_placements(const std::filesystem::path& file, std::int64_t ranks, std::int64_t num_experts) {
  std::ifstream in(file);
  if (!in) throw ConfigError("placement: cannot read " + file.string());
  ExpertPlacements placements;
  try {
    const auto json = nlohmann::json::parse(in);
    if (const auto made_for = json.at("ranks").get<std::int64_t>(); made_for != ranks)
      throw ConfigError(fmt::format("placement: {} is made for {} ranks; set parallel.ep = {} (it is {})",
                                    file.string(), made_for, made_for, ranks));
    for (const auto& [layer, slots] : json.at("layers").items()) {
      ExpertPlacement placement{num_experts, ranks, slots.get<std::vector<std::int64_t>>()};
      placement.validate();
      placements[layer] = std::move(placement);
    }
  } catch (const nlohmann::json::exception& error) {
    throw ConfigError("placement: " + file.string() +
                      " is not what `athanor evaluate --balance_experts` writes: " + error.what());
  }
  return placements;
}

}  // namespace athanor
