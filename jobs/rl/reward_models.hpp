// Rewards that a model has learned, among those that rules give: "learned:helpful @ 0.5" names the stage (or folder) of
// a reward model. It lives on the mesh of the policy and reads what it was trained to read. Law: scores are a function
// of completion and weights, the same on every rank that holds the completion; a rule that could not score a sample
// does not keep a model from doing so.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "jobs/rl/drawn_problems.hpp"
#include "jobs/rl/reward_input.hpp"

namespace athanor {

struct LearnedRewardSpec {
  std::string name, stage;
  double weight = 1.0;
  double scale = 1.0, most = 0.0;  ///< the score times scale, cut to [-most, most] where most is not 0
};

/// "accuracy, learned:helpful @ 0.5" as what rules give ("accuracy") and what models do.
struct SplitRewards {
  std::string rules;
  std::vector<LearnedRewardSpec> learned;
};
/// @throws ConfigError for a learned reward without a stage.
SplitRewards split_rewards(const std::string& rewards);

/// Finds the checkpoint that a stage or folder names.
using FindCheckpoint = std::function<std::filesystem::path(const std::string&)>;

/// Reward models by stage, each loaded once however many kinds of prompts ask it.
class RewardModels {
 public:
  /// Everything passed must outlive this.
  RewardModels(Environment& env, const JobOptions& options, const Tokenizer& tokenizer, FindCheckpoint find);

  /// Adds a part to every result, and its weight to the total. Collective over the world.
  void add_scores(const std::vector<LearnedRewardSpec>& rewards, const DrawnProblems& drawn, std::int64_t group_size,
                  ScoredGroups& scored);

 private:
  struct Loaded {
    std::unique_ptr<ScalarModel> model;
    std::unique_ptr<RewardInput> input;
  };
  Loaded& loaded(const std::string& stage);

  Environment& env_;
  const JobOptions& options_;
  const Tokenizer& tokenizer_;
  FindCheckpoint find_;
  std::map<std::string, Loaded> models_;
};

}  // namespace athanor
