// Problems shared out over the ranks, each completed several times: what training and benchmarks both begin with.
// Law: which problems, and what is sampled, are functions of the range and the seeds, not of the mesh.
#pragma once

#include "jobs/rl/problem_scorer.hpp"
#include "parallel/process_mesh.hpp"

namespace athanor {

/// Problems [first, first + count) of a side.
struct ProblemRange {
  std::uint64_t seed = 0;
  std::int64_t first = 0, count = 0;
  Split split = Split::train;
};

/// What falls to this rank, in order. Ranks of one place along dp (tp, pp, cp) hold the same.
struct DrawnProblems {
  std::int64_t first = 0;  ///< number of the first one here
  std::vector<Problem> problems;
  std::vector<RolloutPrompt> prompts;  ///< their ids are their numbers
  std::vector<Completion> completions;
  std::int64_t tokens_generated = 0;
};

/// The problems and prompts alone.
DrawnProblems draw_problems(const ProcessMesh& mesh, const ProblemScorer& scorer, const ProblemRange& range);
/// Tokens of the longest prompt of the range. Collective over the world.
std::int64_t longest_prompt(ProcessMesh& mesh, const ProblemScorer& scorer, const ProblemRange& range);
/// Generates: ranks of cp share the prompts and exchange the completions. Collective as RolloutEngine::generate and
/// over cp. @param sampling  its stop ids and strings are the scorer's.
void complete(DrawnProblems& drawn, RolloutEngine& engine, const ProblemScorer& scorer, RolloutOptions sampling,
              ProcessMesh& mesh);

/// Collective over tp, pp and cp: ranks that hold the same completions take the scores of one (shared_scores.hpp).
ScoredGroups score(const DrawnProblems& drawn, const ProblemScorer& scorer, std::int64_t group_size, ProcessMesh& mesh);

/// Whether this rank's problems are to be counted: one of those that hold the same.
bool counts_problems(const ProcessMesh& mesh);

}  // namespace athanor
