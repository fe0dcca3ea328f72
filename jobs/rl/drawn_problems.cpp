#include "jobs/rl/drawn_problems.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "jobs/rl/gathered_completions.hpp"
#include "jobs/rl/shared_scores.hpp"
#include "jobs/stop_signal.hpp"
#include "parallel/agreement.hpp"

namespace athanor {

namespace {

/// This rank's share of a range: [first, second).
std::pair<std::int64_t, std::int64_t> share_of(const ProcessMesh& mesh, const ProblemRange& range) {
  const std::int64_t ranks = mesh.size(Axis::dp), rank = mesh.coord(Axis::dp);
  return {range.first + range.count * rank / ranks, range.first + range.count * (rank + 1) / ranks};
}

}  // namespace

DrawnProblems draw_problems(const ProcessMesh& mesh, const ProblemScorer& scorer, const ProblemRange& range) {
  const auto [first, end] = share_of(mesh, range);
  DrawnProblems drawn;
  drawn.first = first;
  for (std::int64_t i = first; i < end; ++i) {
    drawn.problems.push_back(scorer.problem(range.seed, i, range.split));
    drawn.prompts.push_back(scorer.prompt(drawn.problems.back(), i));
  }
  return drawn;
}

std::int64_t longest_prompt(ProcessMesh& mesh, const ProblemScorer& scorer, const ProblemRange& range) {
  std::int64_t longest = 0;
  const auto [first, end] = share_of(mesh, range);
  for (std::int64_t i = first; i < end; ++i)
    longest = std::max(longest, std::ssize(scorer.prompt(scorer.problem(range.seed, i, range.split), i).tokens));
  return mesh.host(Axis::world).max(longest);
}

void complete(DrawnProblems& drawn, RolloutEngine& engine, const ProblemScorer& scorer, RolloutOptions sampling,
              ProcessMesh& mesh) {
  sampling.stop_ids = scorer.stop_ids();
  sampling.stop_strings = scorer.stop_strings();
  sampling.give_up = StopSignal::asked;
  HostGroup& ranks = mesh.host(Axis::cp);
  const std::int64_t prompts = std::ssize(drawn.prompts), first = prompts * ranks.rank() / ranks.size(),
                     end = prompts * (ranks.rank() + 1) / ranks.size();
  std::vector<Completion> mine =
      engine.generate({drawn.prompts.begin() + first, drawn.prompts.begin() + end}, sampling);
  if (mesh.host(Axis::world).any(StopSignal::asked()))
    throw Interrupted("asked to stop: the completions begun are given up, and sampled again when the run goes on");
  for (Completion& completion : mine) completion.prompt += first;
  drawn.completions.clear();
  for (std::vector<Completion>& list : gathered_completions(mine, ranks))
    std::move(list.begin(), list.end(), std::back_inserter(drawn.completions));
  drawn.tokens_generated = ranks.sum(engine.statistics().tokens);
}

ScoredGroups score(const DrawnProblems& drawn, const ProblemScorer& scorer, std::int64_t group_size,
                   ProcessMesh& mesh) {
  ScoredGroups scored = scorer.score(drawn.problems, drawn.completions, group_size);
  for (const Axis axis : {Axis::tp, Axis::pp, Axis::cp}) share_scores(scored, mesh.host(axis));
  return scored;
}

bool counts_problems(const ProcessMesh& mesh) {
  return mesh.coord(Axis::tp) == 0 && mesh.coord(Axis::pp) == 0 && mesh.coord(Axis::cp) == 0;
}

}  // namespace athanor
