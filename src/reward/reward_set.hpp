// Several weighted rewards as one. Law: total = sum of weight * score over the rewards that could score the sample;
// what could not (null, an exception, a number that is not finite) is left out of that sample alone and said so.
// Nothing a reward does ends a run or reaches another sample; only a group reward that throws takes the score of its
// whole group.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "src/reward/registry.hpp"
#include "src/reward/reward.hpp"

namespace athanor {

enum class RewardFault : std::uint8_t {
  none,
  cannot_score,  ///< the reward said so
  threw,
  not_finite
};

struct RewardPart {
  std::optional<double> value;
  RewardFault fault = RewardFault::none;
  std::string message{};  ///< what was thrown
};

struct RewardResult {
  std::optional<double> total;    ///< nullopt: no reward could score the sample; its advantage is 0
  std::vector<RewardPart> parts;  ///< one a reward, in the set's order
};

/// What happened to the samples of a step, by reward: for metrics.
struct RewardTally {
  std::int64_t scored = 0, cannot_score = 0, threw = 0, not_finite = 0;
  double sum = 0.0;  ///< of unweighted scores
  void add(const RewardPart& part);
};

class RewardSet {
 public:
  /// @param specs  "accuracy, format @ 0.5, cosine:max_len=200 @ 0.1". @throws ConfigError, also for a name given
  /// twice.
  RewardSet(std::string_view specs, const RewardRegistry& registry);
  /// @param rewards  by hand, with their weights and names.
  struct Member {
    std::string name;
    double weight = 1.0;
    std::shared_ptr<const Reward> reward;
  };
  explicit RewardSet(std::vector<Member> members) : members_(std::move(members)) {}

  std::span<const Member> members() const { return members_; }
  /// @param group  all completions of one prompt. @returns a result each, in order. Never throws what a reward threw.
  std::vector<RewardResult> score_group(std::span<const RewardSample> group) const;

 private:
  std::vector<Member> members_;
};

}  // namespace athanor
