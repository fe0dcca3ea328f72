// A reward model in training: transformer with a scalar head, optimizer, and the place in the preferences.
// Laws
//  * A step takes the next prompts, each with all its answers, in an order that every epoch permutes anew: a function
//  of
//    (seed, position) alone, so 20 steps, a restart and 20 more are 40 steps, bit for bit, on the same layout.
//  * The router's biases stay as pre-training balanced them.
// Sources: InstructGPT (arXiv 2203.02155), section 3.5 and appendix C; DeepSeek-R1 (Nature 2025), supplement.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "jobs/trained_model.hpp"
#include "parallel/rollout/answer_batcher.hpp"
#include "src/optim/lr_schedule.hpp"

namespace athanor {

/// How a model judges preferences, the same on every rank.
struct PreferenceQuality {
  double loss = 0.0;
  double accuracy = 0.0;                     ///< pairs with the better answer higher; labels on their side of 0
  double good_score = 0.0, bad_score = 0.0;  ///< means over the better (good) and worse (bad) answers
  std::int64_t count = 0;                    ///< pairs or labels
};

class RewardTrainer {
 public:
  /// `env` must outlive this. @param options  the model of the policy: its head becomes a scalar one.
  /// @param data  preferences of the whole job, the same on every rank. @throws ConfigError for options that do not fit
  /// together.
  RewardTrainer(Environment& env, const JobOptions& options, std::vector<AnswerGroup> data);

  /// New weights from the seed: what a model of tokens does not bring is the head.
  void initialize() { trained_.initialize(options_.run.seed, *env_.compute); }
  /// Weights and states, for starting from another stage's.
  std::vector<NamedShard> weight_shards() const { return trained_.weight_shards(); }
  /// To be called when weights are there: new moments, from the first step.
  void start_from_weights();

  /// Tensors of a checkpoint; what is no tensor; and from there. @throws ConfigError, DataError
  std::vector<NamedShard> shards() const { return trained_.shards(); }
  std::map<std::string, std::string> values(std::uint64_t fingerprint) const;
  void restore(std::int64_t steps, const std::map<std::string, std::string>& values, std::uint64_t fingerprint);

  std::int64_t total_steps() const { return total_steps_; }
  std::int64_t steps_done() const { return steps_done_; }
  std::int64_t prompts_seen() const;
  double learning_rate() const { return lr_; }
  /// The next step. Collective. @throws NonFiniteError on every rank.
  StepResult step();
  /// Collective over the world. @param groups  of the whole job.
  PreferenceQuality measure(std::span<const AnswerGroup> groups);
  /// Shifts the head's bias so that the best answers of the first `most` prompts score 0 on average. Collective.
  /// @returns what was taken off.
  double centre_bias(std::size_t most = 1024);

  MeshModel& model() { return *trained_.model; }

 private:
  std::vector<AnswerGroup> own_share(std::span<const AnswerGroup> groups) const;
  /// Scores of the answers of these groups, by group.
  std::vector<std::vector<double>> scores(std::span<const AnswerGroup> groups);

  Environment& env_;
  JobOptions options_;
  std::vector<AnswerGroup> data_;
  std::int64_t total_steps_ = 0, steps_done_ = 0;
  double lr_ = 0.0;
  LrSchedule lr_schedule_;
  TrainedModel trained_;
  std::unique_ptr<AnswerBatcher> batcher_;
};

}  // namespace athanor
