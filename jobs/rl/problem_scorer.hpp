// Problems as prompts and completions as rewards. Law: pure; a reward that fails leaves its sample out and is counted.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/options/job_options.hpp"
#include "parallel/rollout/rollout_engine.hpp"
#include "src/reward/reward_set.hpp"
#include "src/task/prompt_template.hpp"
#include "src/task/task.hpp"
#include "src/text/tokenizer.hpp"

namespace athanor {

/// Completions of some problems with what they earned: group after group.
struct ScoredGroups {
  std::vector<std::string> texts;
  std::vector<RewardResult> results;
  std::vector<std::optional<bool>> right;  ///< by the tasks' own checks
  std::vector<bool> thinks;                ///< says something before its answer
};

class ProblemScorer {
 public:
  /// @param behind_eos  a prompt begins behind the end of another document, as in packed pre-training; else it begins
  /// a sequence, as where documents are isolated.   @param tokenizer  must outlive this.
  /// @throws ConfigError for tasks or rewards there are none of.
  ProblemScorer(const RlOptions& options, const Tokenizer& tokenizer, bool behind_eos);

  Problem problem(std::uint64_t seed, std::int64_t index, Split split) const {
    return tasks_.problem(seed, static_cast<std::uint64_t>(index), split);
  }
  RolloutPrompt prompt(const Problem& problem, std::int64_t id) const;
  /// @param completions  by prompt, then by sibling, of these problems.
  ScoredGroups score(std::span<const Problem> problems, std::span<const Completion> completions,
                     std::int64_t group_size) const;

  const RewardSet& rewards() const { return rewards_; }
  /// Strings that end a completion in this template.
  std::vector<std::string> stop_strings() const;

 private:
  const Tokenizer& tokenizer_;
  bool behind_eos_;
  PromptTemplate template_;
  TaskMixture tasks_;
  RewardSet rewards_;
};

}  // namespace athanor
