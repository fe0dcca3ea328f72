// Problems as prompts and completions as rewards. Laws:
//  * Pure; a reward that fails leaves its sample out and is counted.
//  * What is right says the problem's answer check; where that has no answer it can read, but the problem has tests of
//  a
//    program, all of them passing is right (pass@1 of code: Chen et al. 2021, arXiv 2107.03374).
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/rollout/rollout_engine.hpp"
#include "src/reward/answer_check.hpp"
#include "src/reward/reward_set.hpp"
#include "src/task/prompt_template.hpp"
#include "src/task/task.hpp"
#include "src/text/chat_template.hpp"
#include "src/text/tokenizer.hpp"

namespace athanor {

struct ProblemScorerOptions {
  std::string tasks;    ///< "arithmetic:level=2 @ 3, jsonl:FILE"
  std::string rewards;  ///< empty: none; completions are right or wrong all the same
  /// Rewards among which `code` or `binary_code` says the limits of programs (time, memory, language) for problems that
  /// tests alone decide; without either those of `binary_code`.
  std::string program_limits{};
  std::string prompt_template = "tags";
  /// A prompt of a text template begins behind the end of another document, as in packed pre-training; else it begins a
  /// sequence, as where documents are isolated. Chat layouts have their own beginning, and conversations are always
  /// isolated.
  bool behind_eos = true;
  std::int64_t max_prompt_tokens = 0;  ///< longer prompts of files are lines that cannot be used; 0: of any length
  bool is_benchmark = false;           ///< files are held out whole (see ProblemFileRules)
  bool logs = true;                    ///< which lines of files are left out
};

/// Completions of some problems with what they earned: group after group.
struct ScoredGroups {
  std::vector<std::string> texts;
  std::vector<RewardResult> results;
  std::vector<std::optional<bool>> right;  ///< by the tasks' own checks, or by tests of programs
  std::vector<bool> thinks;                ///< says something before its answer
};

class ProblemScorer {
 public:
  /// Reads files of problems. @param tokenizer  must outlive this.
  /// @throws ConfigError for tasks or rewards there are none of, and for files with too many bad lines.
  ProblemScorer(const ProblemScorerOptions& options, const Tokenizer& tokenizer);
  ProblemScorer(const ProblemScorer&) = delete;
  ProblemScorer& operator=(const ProblemScorer&) = delete;

  Problem problem(std::uint64_t seed, std::int64_t index, Split split) const {
    return tasks_.problem(seed, static_cast<std::uint64_t>(index), split);
  }
  /// The problem in the template: text, or the tokens of a chat layout.
  RolloutPrompt prompt(const Problem& problem, std::int64_t id) const;
  /// What rewards are asked about a completion of `prompt(problem)`.
  RewardSample sample(const Problem& problem, std::string_view completion, std::int64_t completion_tokens) const;
  /// @param completions  by prompt, then by sibling, of these problems.
  ScoredGroups score(std::span<const Problem> problems, std::span<const Completion> completions,
                     std::int64_t group_size) const;

  const TaskMixture& tasks() const { return tasks_; }
  const RewardSet& rewards() const { return rewards_; }
  PromptTemplate prompt_template() const { return template_; }
  /// What ends a completion: the end of the document, of a chat layout the end of a turn, and where the template has
  /// tags that of the answer.
  std::vector<std::int32_t> stop_ids() const;
  std::vector<std::string> stop_strings() const;

 private:
  TaskMixture make_tasks(const ProblemScorerOptions& options);
  /// Decides, by their tests, samples that the answer checks leave open. All programs run at once.
  void judge_programs(std::span<const RewardSample> samples, std::vector<std::optional<bool>>& right) const;

  const Tokenizer& tokenizer_;
  bool behind_eos_;
  PromptTemplate template_;
  std::optional<ChatTemplate> chat_;  ///< of a chat layout
  AnswerChecks checks_;
  bool tests_decide_ = false;  ///< some problem of a file
  TaskMixture tasks_;
  RewardSet rewards_;
  RewardSet programs_;  ///< empty where no problem is decided by tests: then no sandbox is needed
};

}  // namespace athanor
