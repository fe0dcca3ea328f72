// Several weighted rewards as one. Law: total = sum of weight * score over the rewards that could score the sample;
// what could not (null, an exception, a number that is not finite) is left out of that sample alone and said so.
// Nothing a reward does ends a run or reaches another sample; only a group reward that throws or hangs takes the score
// of its whole group. A hang is a call that is not back within the limit (watched_scoring.hpp).
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
  not_finite,
  timed_out
};

struct RewardPart {
  std::optional<double> value;
  RewardFault fault = RewardFault::none;
  std::string message{};  ///< what was thrown, which sample timed out, or a reward's remark
};

struct RewardResult {
  std::optional<double> total;    ///< nullopt: no reward could score the sample; its advantage is 0
  std::vector<RewardPart> parts;  ///< one a reward, in the set's order
};

/// What happened to the samples of a step, by reward: for metrics.
struct RewardTally {
  std::int64_t scored = 0, cannot_score = 0, threw = 0, not_finite = 0, timed_out = 0;
  double sum = 0.0;  ///< of unweighted scores
  void add(const RewardPart& part);
};

class RewardSet {
 public:
  /// Ten times what the slowest reward takes for a hostile completion.
  static constexpr double kLimitSeconds = 10.0;
  /// @param specs  "accuracy, format @ 0.5, cosine:max_len=200 @ 0.1". @throws ConfigError, also for a name given
  /// twice.
  RewardSet(std::string_view specs, const RewardRegistry& registry);
  /// @param rewards  by hand, with their weights and names.
  struct Member {
    std::string name;
    double weight = 1.0;
    std::shared_ptr<const Reward> reward;
  };
  explicit RewardSet(std::vector<Member> members, double limit_seconds = kLimitSeconds)
      : members_(std::move(members)), limit_seconds_(limit_seconds) {}

  std::span<const Member> members() const { return members_; }
  /// Work that goes on elsewhere; lives as long as this.
  using Begun = std::vector<std::shared_ptr<void>>;
  /// Says which samples will be asked for next, of any prompts, so that slow rewards work on all of them at once. Hold
  /// the result until they are scored.
  [[nodiscard]] Begun begin(std::span<const RewardSample> samples) const;
  /// @param group  all completions of one prompt. @returns a result each, in order. Never throws what a reward threw.
  std::vector<RewardResult> score_group(std::span<const RewardSample> group) const;

 private:
  std::vector<Member> members_;
  double limit_seconds_ = kLimitSeconds;
};

}  // namespace athanor
