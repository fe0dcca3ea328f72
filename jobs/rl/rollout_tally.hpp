// What is counted over the completions of a rollout, on all ranks.
#pragma once

#include <span>
#include <vector>

#include "jobs/rl/drawn_problems.hpp"
#include "parallel/rollout/advantage.hpp"

namespace athanor {

/// What a rollout gave, over all ranks.
struct RolloutStatistics {
  double reward = 0.0, accuracy = 0.0, thinking = 0.0;  ///< means over completions
  std::vector<double> rewards;                          ///< mean of every reward
  double kl = 0.0;                       ///< mean over completions of the sum of k1; 0 where it was not measured
  double length = 0.0, truncated = 0.0;  ///< tokens; share of completions cut short
  double zero_spread_groups = 0.0, unscored = 0.0;  ///< shares
  double seconds = 0.0, tokens_per_second = 0.0;
  std::int64_t completions = 0, groups = 0;
};

class RolloutTally {
 public:
  explicit RolloutTally(std::size_t num_rewards) : sums_(kNumSums + 2 * num_rewards) {}

  /// One completion, number `i` of those drawn. @param rewards  which of the rollout's rewards each part of a score is.
  void add(const DrawnProblems& drawn, const ScoredGroups& scored, std::size_t i, std::span<const std::size_t> rewards);
  void add_group(const GroupAdvantages& advantages);
  void add_divergence(double k1) {
    sums_[kDivergence] += k1;
    sums_[kMeasured] += 1.0;
  }
  void add_tokens(std::int64_t generated) { sums_[kTokens] += static_cast<double>(generated); }

  /// Over all ranks that count. Collective over `world`. @param counts  this rank's sums are not another's, too.
  RolloutStatistics statistics(HostGroup& world, bool counts, double seconds);

 private:
  enum Sum : std::size_t {
    kReward,
    kScored,
    kRight,
    kChecked,
    kThinks,
    kLength,
    kTruncated,
    kCompletions,
    kGroups,
    kFlatGroups,
    kUnscored,
    kTokens,
    kDivergence,
    kMeasured,
    kNumSums  ///< value and count of each reward follow
  };
  std::vector<double> sums_;
};

}  // namespace athanor
