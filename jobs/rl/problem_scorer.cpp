#include "jobs/rl/problem_scorer.hpp"

#include "src/reward/registry.hpp"

namespace athanor {
namespace {

TaskMixture make_tasks(const std::string& specs) {
  TaskRegistry registry;
  register_all_tasks(registry);
  return TaskMixture(specs, registry);
}

RewardSet make_rewards(const std::string& specs) {
  RewardRegistry registry;
  register_all_rewards(registry);
  return RewardSet(specs, registry);
}

}  // namespace

ProblemScorer::ProblemScorer(const RlOptions& options, const Tokenizer& tokenizer, bool behind_eos)
    : tokenizer_(tokenizer),
      behind_eos_(behind_eos),
      template_(parse_prompt_template(options.prompt_template)),
      tasks_(make_tasks(options.tasks)),
      rewards_(make_rewards(options.rewards)) {}

RolloutPrompt ProblemScorer::prompt(const Problem& problem, std::int64_t id) const {
  RolloutPrompt prompt{id, {}};
  if (behind_eos_) prompt.tokens.push_back(tokenizer_.eos_id());
  tokenizer_.encode(render_prompt(template_, problem.prompt), prompt.tokens);
  return prompt;
}

std::vector<std::string> ProblemScorer::stop_strings() const {
  if (template_ == PromptTemplate::marks) return {};
  return {"</answer>"};
}

ScoredGroups ProblemScorer::score(std::span<const Problem> problems, std::span<const Completion> completions,
                                  std::int64_t group_size) const {
  ScoredGroups scored;
  std::vector<RewardSample> group;
  for (std::size_t p = 0; p < problems.size(); ++p) {
    group.clear();
    for (std::int64_t g = 0; g < group_size; ++g) {
      const Completion& completion =
          completions[p * static_cast<std::size_t>(group_size) + static_cast<std::size_t>(g)];
      scored.texts.push_back(tokenizer_.decode(completion.tokens, false));
      const std::string& text = scored.texts.back();
      group.push_back(reward_sample(problems[p], text, static_cast<std::int64_t>(completion.tokens.size())));
      scored.thinks.push_back(template_ == PromptTemplate::marks ? text.starts_with("(")
                                                                 : text.find("<think>") != std::string::npos);
      const auto verdict = tasks_.task_of(problems[p]).verify(problems[p], text);
      scored.right.push_back(verdict ? std::optional<bool>(*verdict > 0.5) : std::nullopt);
    }
    for (RewardResult& result : rewards_.score_group(group)) scored.results.push_back(std::move(result));
  }
  return scored;
}

}  // namespace athanor
