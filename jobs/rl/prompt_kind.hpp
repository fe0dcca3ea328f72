// One kind of prompts of an rl stage: its problems, its rewards, its place among the problems.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "jobs/rl/drawn_problems.hpp"
#include "jobs/rl/prompt_set.hpp"
#include "jobs/rl/reward_models.hpp"

namespace athanor {

/// How the problems of a stage are asked and scored. @throws ConfigError
ProblemScorerOptions rl_scorer_options(const JobOptions& options, const PromptSetSpec& set);

class PromptKind {
 public:
  /// @param tokenizer, models  must outlive this. @throws ConfigError
  PromptKind(const JobOptions& options, const PromptSetSpec& set, const Tokenizer& tokenizer, RewardModels& models);

  const ProblemScorer& scorer() const { return *scorer_; }
  /// Names of its rewards, in the order of a score's parts.
  std::vector<std::string> reward_names() const;

  /// The next `count` problems over all ranks, completed. Collective.
  DrawnProblems complete_next(std::int64_t count, std::uint64_t seed, ProcessMesh& mesh, RolloutEngine& engine,
                              const RolloutOptions& sampling);
  /// Collective.
  ScoredGroups score(const DrawnProblems& drawn, std::int64_t group_size, ProcessMesh& mesh) const;

  std::int64_t next_problem() const { return next_problem_; }
  void go_to(std::int64_t next_problem) { next_problem_ = next_problem; }

 private:
  std::unique_ptr<ProblemScorer> scorer_;
  RewardModels& models_;
  std::vector<LearnedRewardSpec> learned_;
  std::int64_t next_problem_ = 0;
};

}  // namespace athanor
