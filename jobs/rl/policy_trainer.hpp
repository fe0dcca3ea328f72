// Rollouts and the updates they serve: what happens between two checkpoints of an rl stage.
// Laws
//  * The problems of rollout r, and the random numbers of its completions, are functions of (seed, r): a run that is
//    restarted at a rollout's beginning goes on as if it had not been stopped.
//  * A group of siblings lies whole on one rank. Advantages come from the whole group, whatever counts for the update.
//  * All ranks take the same decisions: what they decide on is summed over the world.
// Source: DeepSeek-R1 (arXiv 2501.12948, Nature 2025), GRPO: DeepSeekMath (arXiv 2402.03300), PPO and ptx: InstructGPT
// (arXiv 2203.02155).
#pragma once

#include <memory>
#include <vector>

#include "jobs/environment.hpp"
#include "jobs/rl/credit.hpp"
#include "jobs/rl/length_stages.hpp"
#include "jobs/rl/pretraining_mix.hpp"
#include "jobs/rl/prompt_kind.hpp"
#include "jobs/trained_model.hpp"
#include "src/optim/lr_schedule.hpp"

namespace athanor {

/// For people to read.
struct RolloutSample {
  std::int64_t prompt_id = 0;
  std::string prompt, completion, answer;
  double reward = 0.0, advantage = 0.0;
};

/// What an update did, over all ranks.
struct UpdateResult {
  StepResult policy;
  std::optional<StepResult> critic;
  double ptx_loss = 0.0;  ///< nats a token of the pre-training text; 0 without
};

class PolicyTrainer {
 public:
  /// Everything passed must outlive this. @param mix  null: no pre-training text beside the updates.
  /// @param find_checkpoint  of reward models.
  /// @throws ConfigError for options that do not fit together.
  PolicyTrainer(Environment& env, const JobOptions& options, const Tokenizer& tokenizer,
                std::unique_ptr<PretrainingMix> mix, FindCheckpoint find_checkpoint);

  std::vector<NamedShard> weight_shards() const { return trained_.weight_shards(); }
  /// Policy, optimizer, biases, and reference and critic where there are such.
  std::vector<NamedShard> shards() const;
  /// New moments; the reference is the policy. The critic's weights are set.
  void start_from_weights();
  std::map<std::string, std::string> values() const;
  void restore(std::int64_t steps, const std::map<std::string, std::string>& values);

  /// Generates and scores. Collective.
  RolloutStatistics rollout();
  /// One of options.rl.updates_per_rollout updates on it. Collective.
  UpdateResult update();

  std::int64_t steps_done() const { return steps_done_; }
  double learning_rate() const { return lr_; }
  double kl_beta() const { return credit_->kl_beta(); }
  /// Of the last rollout, on this rank.
  const std::vector<RolloutSample>& samples() const { return samples_; }
  /// Of the first kind of prompts: what pass@1 is measured on.
  const ProblemScorer& scorer() const { return kinds_.front().scorer(); }
  /// Of all kinds, as RolloutStatistics counts them.
  const std::vector<std::string>& reward_names() const { return reward_names_; }
  Critic* critic() { return critic_.get(); }
  /// For measuring the policy as it is between updates.
  RolloutEngine& engine() { return *engine_; }
  /// As the rollouts sample.
  RolloutOptions sampling(std::int64_t group_size, std::uint64_t seed) const;

 private:
  void make_kinds(const Tokenizer& tokenizer);
  /// `count` prompts of a kind, and others in place of those that teach nothing, onto experiences_.
  void roll_out(std::size_t kind, std::int64_t count, RolloutTally& tally);
  /// What an update learns from. Collective.
  std::vector<Experience> teach(std::size_t kind, const DrawnProblems& drawn, const ScoredGroups& scored,
                                RolloutTally& tally);
  void keep_sample(const DrawnProblems& drawn, const ScoredGroups& scored, std::size_t i, double advantage);
  std::uint64_t problems_fingerprint() const;

  Environment& env_;
  JobOptions options_;
  std::vector<PromptSetSpec> sets_;
  RewardModels reward_models_;
  std::vector<PromptKind> kinds_;
  std::vector<std::string> reward_names_;
  std::vector<std::vector<std::size_t>> rewards_of_kind_;  ///< which of reward_names_ each part of a score is
  LengthStages length_stages_;
  LrSchedule lr_schedule_;
  TrainedModel trained_;
  std::unique_ptr<ReferencePolicy> reference_;  ///< where there is a divergence to keep small
  std::unique_ptr<Critic> critic_;
  std::unique_ptr<PretrainingMix> mix_;
  std::unique_ptr<Credit> credit_;
  std::unique_ptr<RolloutEngine> engine_;
  std::unique_ptr<ExperienceBatcher> batcher_;
  std::vector<Experience> experiences_;  ///< of this rank, shuffled
  std::vector<RolloutSample> samples_;
  std::int64_t steps_done_ = 0, rollouts_done_ = 0, update_of_rollout_ = 0;
  double lr_ = 0.0;
};

}  // namespace athanor
