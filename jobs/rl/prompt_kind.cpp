#include "jobs/rl/prompt_kind.hpp"

#include <fmt/format.h>

#include "jobs/rl/row_tokens.hpp"
#include "src/base/error.hpp"
#include "src/base/span.hpp"

namespace athanor {

ProblemScorerOptions rl_scorer_options(const JobOptions& options, const PromptSetSpec& set) {
  const RlOptions& rl = options.rl;
  const std::int64_t left = row_tokens_of(options) + 1 - rl.max_new_tokens;
  if (left < 1)
    throw ConfigError(fmt::format(
        "rl.max_new_tokens = {} leaves no room for a prompt in rows of {} tokens; lower it, or raise rl.row_tokens",
        rl.max_new_tokens, row_tokens_of(options)));
  return {.tasks = set.tasks,
          .rewards = split_rewards(set.rewards).rules,
          .program_limits = set.rewards,
          .prompt_template = rl.prompt_template,
          .behind_eos = !options.data.isolate_documents,
          .max_prompt_tokens = left};
}

PromptKind::PromptKind(const JobOptions& options, const PromptSetSpec& set, const Tokenizer& tokenizer,
                       RewardModels& models)
    : scorer_(std::make_unique<ProblemScorer>(rl_scorer_options(options, set), tokenizer)),
      models_(models),
      learned_(split_rewards(set.rewards).learned) {}

std::vector<std::string> PromptKind::reward_names() const {
  std::vector<std::string> names;
  for (const RewardSet::Member& member : scorer_->rewards().members()) names.push_back(member.name);
  for (const LearnedRewardSpec& reward : learned_) names.push_back(reward.name);
  return names;
}

DrawnProblems PromptKind::complete_next(std::int64_t count, std::uint64_t seed, ProcessMesh& mesh,
                                        RolloutEngine& engine, const RolloutOptions& sampling) {
  DrawnProblems drawn = draw_problems(mesh, *scorer_, {seed, next_problem_, count, Split::train});
  complete(drawn, engine, *scorer_, sampling, mesh);
  next_problem_ += count;
  return drawn;
}

ScoredGroups PromptKind::score(const DrawnProblems& drawn, std::int64_t group_size, ProcessMesh& mesh) const {
  const Span span(SpanKind::rollout, "rewards");
  ScoredGroups scored = athanor::score(drawn, *scorer_, group_size, mesh);
  models_.add_scores(learned_, drawn, group_size, scored);
  return scored;
}

}  // namespace athanor
