// Rewards by name. Law: filled by one plain function, register_all_rewards, never by static objects, which linkers drop
// from libraries.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/named_spec.hpp"
#include "src/reward/answer_check.hpp"
#include "src/reward/reward.hpp"

namespace athanor {

class RewardRegistry {
 public:
  /// Reads its options from the spec; leaves `finish` to the registry.
  using Make = std::function<std::unique_ptr<Reward>(SpecOptions&)>;
  /// @throws ConfigError for a name that is taken.
  void add(std::string name, Make make);
  /// @throws ConfigError for an unknown name (listing the known and the nearest), unknown option or bad value.
  std::unique_ptr<Reward> make(const NamedSpec& spec) const;
  /// "cosine:max_len=200".
  std::unique_ptr<Reward> make(std::string_view spec) const;
  std::vector<std::string> names() const;

 private:
  std::map<std::string, Make, std::less<>> makers_;
};

/// Every reward of this folder, under its published name. @param checks  how answers are compared.
void register_all_rewards(RewardRegistry& registry, AnswerChecks checks = all_answer_checks());

}  // namespace athanor
