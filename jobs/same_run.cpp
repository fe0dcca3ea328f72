#include "jobs/same_run.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "src/base/error.hpp"

namespace athanor {
namespace {

/// Sections that only some kinds of stages read; all others count for every kind.
bool is_read_by(const std::string& kind, std::string_view key) {
  static const std::map<std::string, std::set<std::string>, std::less<>> kReaders{
      {"rl", {"rl", "rejection_sampling", "evaluate", "distill"}},
      {"evaluate", {"evaluate"}},
      {"sft", {"sft", "distill"}},
      {"distill", {"distill"}},
      {"reward_model", {"reward_model"}},
      {"sampling", {"rejection_sampling"}}};
  const auto readers = kReaders.find(key.substr(0, key.find('.')));
  return readers == kReaders.end() || readers->second.contains(kind);
}

/// True for what only says how and where a run is executed, not what it computes.
bool may_change(std::string_view key) {
  static constexpr std::array<std::string_view, 3> kPartOfTheResult{"run.steps", "run.seed", "run.dtype"};
  return key.starts_with("parallel.") ||
         (key.starts_with("run.") &&
          std::find(kPartOfTheResult.begin(), kPartOfTheResult.end(), key) == kPartOfTheResult.end());
}

std::vector<std::string> differences(const Configuration& before, const Configuration& now, const std::string& stage) {
  if (std::find(before.stages().begin(), before.stages().end(), stage) == before.stages().end()) return {};
  const auto old_values = before.values(stage);
  const std::string kind = now.stage(stage).kind;
  std::vector<std::string> found;
  for (const auto& [key, value] : now.values(stage)) {
    const auto old = old_values.find(key);
    const std::string old_value = old == old_values.end() ? "" : old->second;
    if (old_value != value && !may_change(key) && is_read_by(kind, key))
      found.push_back(fmt::format("{}: {}: {} -> {} ({})", stage, key, old_value.empty() ? "nothing" : old_value,
                                  value.empty() ? "nothing" : value, now.origin(key, stage)));
  }
  return found;
}

struct Comparison {
  std::string failure;
  std::vector<std::string> changed;
};

Comparison compare(const Configuration& now, const RunFolder& folder) {
  Comparison result;
  const auto file = folder.path() / "config.resolved.cfg";
  if (!std::filesystem::exists(file)) return result;
  std::vector<std::string> refused;
  try {
    int source = 0;
    const Configuration before(read_config_file(file, source), OptionTable{});
    for (const std::string& stage : now.stages()) {
      auto& list = folder.is_complete(stage) ? refused : result.changed;
      for (std::string& difference : differences(before, now, stage)) list.push_back(std::move(difference));
    }
  } catch (const ConfigError& error) {
    refused.push_back(error.what());
  }
  if (!refused.empty())
    result.failure = fmt::format(
        "run.folder: {} holds a run with other options; give another --run.folder, or --run.start_over=true to move "
        "the "
        "old one aside\n  {}",
        folder.path().string(), fmt::join(refused, "\n  "));
  return result;
}

}  // namespace

std::vector<std::string> check_same_run(const Configuration& now, const RunFolder& folder, HostGroup& ranks) {
  nlohmann::json found{{"failure", ""}, {"changed", nlohmann::json::array()}};
  if (ranks.rank() == 0) {
    const Comparison comparison = compare(now, folder);
    found = {{"failure", comparison.failure}, {"changed", comparison.changed}};
  }
  found = nlohmann::json::parse(ranks.broadcast(found.dump(), 0));
  if (const auto failure = found.at("failure").get<std::string>(); !failure.empty()) throw ConfigError(failure);
  return found.at("changed").get<std::vector<std::string>>();
}

}  // namespace athanor
