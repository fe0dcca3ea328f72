// The published methods of policy optimisation by name: each is an advantage, a ratio and a normaliser (FACTS 4.1, 4.3;
// the table is in the README of this folder).
#pragma once

#include <string>

#include "parallel/rollout/advantage.hpp"
#include "parallel/rollout/experience.hpp"

namespace athanor {

struct Objective {
  PolicyObjective policy;
  PolicyWeights weights;
  AdvantageKind advantage;
  bool whitens;         ///< advantages are rescaled over the whole batch
  bool critic = false;  ///< advantages of tokens from values, in place of those of a group
};

/// @throws ConfigError for an unknown name, with those there are.
Objective objective_of(const std::string& name);

}  // namespace athanor
