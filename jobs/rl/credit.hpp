// From what completions earned to what their tokens are worth: advantages among siblings, or from a critic's values.
// Laws
//  * A completion that could not be scored is masked: it counts for nothing and does not touch its siblings.
//  * What is whitened is whitened over the whole batch of all ranks.
// Sources: parallel/rollout/advantage.hpp (groups), parallel/rollout/token_advantage.hpp (PPO).
#pragma once

#include <optional>
#include <vector>

#include "jobs/rl/critic.hpp"
#include "jobs/rl/objectives.hpp"
#include "jobs/rl/reference_policy.hpp"
#include "jobs/rl/rollout_tally.hpp"
#include "parallel/rollout/token_advantage.hpp"

namespace athanor {

class Credit {
 public:
  /// @param reference, critic  null where the options want none. Everything passed must outlive this.
  /// @throws ConfigError for options that do not go together.
  Credit(const JobOptions& options, ProcessMesh& mesh, ReferencePolicy* reference, Critic* critic);

  /// Fills advantages (with a critic values and returns, too) of whole groups of siblings.
  /// @param totals  what each earned; nullopt: it could not be scored.   @returns by group, whether all its siblings
  /// earned alike, which teaches nothing (never with a critic). Collective.
  std::vector<bool> assign(std::vector<Experience>& experiences, std::vector<std::optional<double>> totals,
                           ExperienceBatcher& batcher, RolloutTally& tally);
  /// Once all of a rollout have theirs. Collective.
  void whiten(std::vector<Experience>& experiences);
  /// What the rollout's mean divergence says of kl_beta.
  void adapt(const RolloutStatistics& rollout);

  double kl_beta() const { return kl_.beta(); }
  std::string state() const { return kl_.state(); }
  void restore(const std::string& state) { kl_.restore(state); }

 private:
  std::vector<bool> among_siblings(std::vector<Experience>& experiences, std::span<const std::optional<double>> totals,
                                   RolloutTally& tally) const;
  void from_values(std::vector<Experience>& experiences, std::span<const std::optional<double>> totals,
                   ExperienceBatcher& batcher);

  const RlOptions& rl_;
  ProcessMesh& mesh_;
  ReferencePolicy* reference_;
  Critic* critic_;
  Objective objective_;
  AdaptiveKl kl_;
};

}  // namespace athanor
