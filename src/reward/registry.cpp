#include "src/reward/registry.hpp"

#include "src/base/error.hpp"
#include "src/base/nearest_name.hpp"

namespace athanor {

void RewardRegistry::add(std::string name, Make make) {
  if (!makers_.try_emplace(name, std::move(make)).second) throw ConfigError("reward " + name + " is added twice");
}

std::unique_ptr<Reward> RewardRegistry::make(const NamedSpec& spec) const {
  const auto found = makers_.find(spec.name);
  if (found == makers_.end()) throw ConfigError("reward " + unknown_name(spec.name, names()));
  SpecOptions options(spec, "reward");
  std::unique_ptr<Reward> reward = found->second(options);
  options.finish();
  return reward;
}

std::unique_ptr<Reward> RewardRegistry::make(std::string_view spec) const {
  return make(parse_named_spec(spec, "reward"));
}

std::vector<std::string> RewardRegistry::names() const {
  std::vector<std::string> names;
  for (const auto& [name, make] : makers_) names.push_back(name);
  return names;
}

}  // namespace athanor
