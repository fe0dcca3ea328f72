// How well a model solves problems: several completions of each, judged by the problem's own check. Used by stages of
// kind `evaluate` and for the held-out problems of `rl`.
// Laws
//  * Problems and completions follow from the seeds; what is counted is gathered by problem and added in that order. So
//    the result is the same to the last bit on every layout that generates the same tokens, and on every rank.
//  * A completion whose answer cannot be judged counts as wrong.
// Sources: pass@k Chen et al. 2021 (arXiv 2107.03374); maj@k and pass@1 over k samples DeepSeek-R1 (arXiv 2501.12948).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "jobs/rl/drawn_problems.hpp"
#include "jobs/rl/estimates.hpp"

namespace athanor {

inline constexpr std::int64_t kGeneratedProblems = 256;  ///< of a benchmark without end, where no number is given

struct BenchmarkOptions {
  ProblemRange problems;
  RolloutOptions sampling;     ///< group_size: completions of a problem
  std::int64_t num_shown = 0;  ///< completions kept for people to read, of the first problems
  std::uint64_t bootstrap_seed = 1;
  /// Of the scorer's rewards and those that add_scores adds, in the order of a score's parts: their means are told, of
  /// as many as are named.
  std::vector<std::string> reward_names = {};
  /// Scores that take the whole mesh (reward models). Collective.
  std::function<void(const DrawnProblems&, ScoredGroups&)> add_scores = {};
};

/// For people to read.
struct ShownCompletion {
  std::int64_t problem = 0;
  std::string prompt, completion, answer;
  bool right = false;
};

struct BenchmarkResult {
  std::int64_t problems = 0, samples = 0;
  Estimate pass_at_1;                                      ///< mean share of right completions
  std::vector<std::pair<std::int64_t, Estimate>> pass_at;  ///< by k: powers of two below the samples, and these
  Estimate majority;                                       ///< maj@samples
  double length = 0.0;                                     ///< tokens of a completion
  double truncated = 0.0, thinks = 0.0, well_formed = 0.0, unreadable = 0.0;  ///< shares of completions
  std::optional<double> accuracy_thinking, accuracy_direct;  ///< of those that think first, of the others
  std::optional<double> language_consistency;                ///< mean where there is a language
  std::vector<std::pair<std::string, double>> rewards;       ///< mean of each that scored any
  double seconds = 0.0, tokens_per_second = 0.0;             ///< of generating
  std::vector<ShownCompletion> shown;                        ///< rank 0 alone

  const Estimate& pass_at_samples() const { return pass_at.back().second; }
};

/// Collective over the world. @throws ConfigError when a prompt does not fit the engine's slots.
BenchmarkResult run_benchmark(ProcessMesh& mesh, const ProblemScorer& scorer, RolloutEngine& engine,
                              const BenchmarkOptions& options);

}  // namespace athanor
