#include "jobs/rl/drawn_problems.hpp"

#include "jobs/rl/shared_scores.hpp"

namespace athanor {

DrawnProblems draw_problems(const ProcessMesh& mesh, const ProblemScorer& scorer, const ProblemRange& range) {
  const std::int64_t ranks = mesh.size(Axis::data), rank = mesh.coord(Axis::data);
  DrawnProblems drawn;
  drawn.first = range.first + range.count * rank / ranks;
  for (std::int64_t i = drawn.first; i < range.first + range.count * (rank + 1) / ranks; ++i) {
    drawn.problems.push_back(scorer.problem(range.seed, i, range.split));
    drawn.prompts.push_back(scorer.prompt(drawn.problems.back(), i));
  }
  return drawn;
}

void complete(DrawnProblems& drawn, RolloutEngine& engine, const ProblemScorer& scorer, RolloutOptions sampling) {
  sampling.stop_ids = scorer.stop_ids();
  sampling.stop_strings = scorer.stop_strings();
  drawn.completions = engine.generate(drawn.prompts, sampling);
}

ScoredGroups score(const DrawnProblems& drawn, const ProblemScorer& scorer, std::int64_t group_size,
                   ProcessMesh& mesh) {
  ScoredGroups scored = scorer.score(drawn.problems, drawn.completions, group_size);
  for (const Axis axis : {Axis::tp, Axis::pp}) share_scores(scored, mesh.host(axis));
  return scored;
}

bool counts_problems(const ProcessMesh& mesh) { return mesh.coord(Axis::tp) == 0 && mesh.coord(Axis::pp) == 0; }

}  // namespace athanor
