// `jsonl:FILE(...)`: problems of a user's file as a task, beside the generated ones. Laws:
//  * The order is a function of (seed, index): each pass over a side goes through all of its problems once, shuffled
//    anew. A task that shares a mixture sees only the indices that fall to it.
//  * Training and held-out problems are disjoint: a hash of the prompt decides the side, or there is a file of held-out
//    problems of its own, whose prompts are taken out of the training side.
//  * Every line is read and checked when the task is made, before anything is computed.
// Options: format=plain|gsm8k (the fields question and answer, the answer behind "####"), prompt, answer (names of the
// fields), mark (the answer stands behind the last of these), name (of the task; else the file's), reward, language (of
// lines that name none), held_out=FILE, part=split|all (all: the whole file is on the held-out side), max_bad=0.01
// (share of lines that may be unusable).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "io/dataset/problem_file.hpp"
#include "src/reward/answer_check.hpp"
#include "src/task/task.hpp"

namespace athanor {

/// What a job asks of files beside what it writes in the options.
struct ProblemFileRules {
  /// Why a problem cannot be used (its prompt is too long, ...); empty: it can. Also see BadLines.
  std::function<std::string(const Problem&)> refusal{};
  std::function<void(const std::string&)> report{};
  bool is_benchmark = false;  ///< `part` is all unless it is given
};

class ProblemFileTask final : public Task {
 public:
  /// @throws ConfigError when a file has too many bad lines or a side has no problem.
  ProblemFileTask(SpecOptions& options, const ProblemFileRules& rules);

  std::optional<std::int64_t> num_problems(Split split) const override;
  Problem problem(std::uint64_t seed, std::uint64_t index, Split split) const override;
  /// @throws ConfigError always: a file says answers, not how they are wrong.
  Solution solution(const Problem& problem, SolutionStyle style, bool correct) const override;
  std::uint64_t fingerprint() const override { return fingerprint_; }

 private:
  std::vector<Problem> read(const std::string& path, const ProblemFields& fields, const BadLines& bad_lines);
  const std::vector<Problem>& side(Split split) const { return split == Split::train ? train_ : held_out_; }

  std::string file_, reward_, language_;
  AnswerChecks checks_;
  std::vector<Problem> train_, held_out_;
  std::uint64_t fingerprint_ = 0;
};

/// The task `jsonl`.
void register_problem_files(TaskRegistry& registry, ProblemFileRules rules);

}  // namespace athanor
