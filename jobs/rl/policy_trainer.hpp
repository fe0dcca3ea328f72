// Rollouts and the updates they serve: what happens between two checkpoints of an rl stage.
// Laws
//  * The problems of rollout r, and the random numbers of its completions, are functions of (seed, r): a run that is
//    restarted at a rollout's beginning goes on as if it had not been stopped.
//  * A group of siblings lies whole on one rank. Advantages come from the whole group, whatever counts for the update.
//  * All ranks take the same decisions: what they decide on is summed over the world.
// Source: DeepSeek-R1 (arXiv 2501.12948, Nature 2025), GRPO: DeepSeekMath (arXiv 2402.03300).
#pragma once

#include <memory>
#include <vector>

#include "jobs/environment.hpp"
#include "jobs/rl/drawn_problems.hpp"
#include "jobs/rl/length_stages.hpp"
#include "jobs/rl/reference_policy.hpp"
#include "jobs/rl/rollout_tally.hpp"
#include "jobs/trained_model.hpp"
#include "parallel/rollout/advantage.hpp"
#include "parallel/rollout/experience.hpp"
#include "src/optim/lr_schedule.hpp"

namespace athanor {

/// For people to read.
struct RolloutSample {
  std::int64_t prompt_id = 0;
  std::string prompt, completion, answer;
  double reward = 0.0, advantage = 0.0;
};

/// How the problems of a stage are asked and scored. @throws ConfigError
ProblemScorerOptions rl_scorer_options(const JobOptions& options);

class PolicyTrainer {
 public:
  /// Everything passed must outlive this. @throws ConfigError for options that do not fit together.
  PolicyTrainer(Environment& env, const JobOptions& options, const Tokenizer& tokenizer);

  std::vector<NamedShard> weight_shards() const { return trained_.weight_shards(); }
  /// Policy, optimizer, biases, and the reference where there is one.
  std::vector<NamedShard> shards() const;
  /// New moments; the reference is the policy.
  void start_from_weights();
  std::map<std::string, std::string> values() const;
  void restore(std::int64_t steps, const std::map<std::string, std::string>& values);

  /// Generates and scores. Collective.
  RolloutStatistics rollout();
  /// One of options.rl.updates_per_rollout updates on it. Collective.
  StepResult update();

  std::int64_t steps_done() const { return steps_done_; }
  double learning_rate() const { return lr_; }
  /// Of the last rollout, on this rank.
  const std::vector<RolloutSample>& samples() const { return samples_; }
  const ProblemScorer& scorer() const { return scorer_; }
  /// For measuring the policy as it is between updates.
  RolloutEngine& engine() { return *engine_; }
  /// As the rollouts sample.
  RolloutOptions sampling(std::int64_t group_size, std::uint64_t seed) const;

 private:
  /// What an update learns from: rewards as advantages. Collective where the divergence is part of the reward.
  std::vector<Experience> teach(const DrawnProblems& drawn, const ScoredGroups& scored, RolloutTally& tally);
  void whiten_advantages();

  Environment& env_;
  JobOptions options_;
  ProblemScorer scorer_;
  AdvantageKind advantage_ = AdvantageKind::group;
  bool whitens_ = false, kl_in_reward_;
  LengthStages length_stages_;
  LrSchedule lr_schedule_;
  TrainedModel trained_;
  std::unique_ptr<ReferencePolicy> reference_;  ///< where there is a divergence to keep small
  std::unique_ptr<RolloutEngine> engine_;
  std::unique_ptr<ExperienceBatcher> batcher_;
  std::vector<Experience> experiences_;  ///< of this rank, shuffled
  std::vector<RolloutSample> samples_;
  std::int64_t steps_done_ = 0, next_problem_ = 0, update_of_rollout_ = 0;
  double lr_ = 0.0;
};

}  // namespace athanor
