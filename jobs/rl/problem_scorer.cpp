#include "jobs/rl/problem_scorer.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "io/dataset/problem_file_task.hpp"
#include "src/reward/registry.hpp"

namespace athanor {
namespace {

std::optional<ChatTemplate> make_chat(PromptTemplate form, const Tokenizer& tokenizer) {
  const auto layout = chat_layout_of(form);
  if (!layout) return std::nullopt;
  return std::optional<ChatTemplate>(std::in_place, *layout, tokenizer);
}

RewardRegistry all_rewards() {
  RewardRegistry registry;
  register_all_rewards(registry);
  return registry;
}

RewardSet make_rewards(const std::string& specs, const RewardRegistry& registry) {
  if (specs.empty()) return RewardSet(std::vector<RewardSet::Member>{});
  return RewardSet(specs, registry);
}

/// All tests pass or not, within the limits that a reward on programs among `specs` has.
RewardSet make_program_check(const std::string& specs, const RewardRegistry& registry) {
  NamedSpec check{.text = "binary_code", .name = "binary_code"};
  if (!specs.empty())
    for (const NamedSpec& spec : parse_named_specs(specs, "reward"))
      if (spec.name == "code" || spec.name == "binary_code") {
        check = spec;
        check.name = "binary_code";
      }
  std::vector<RewardSet::Member> members;
  members.push_back({check.name, 1.0, registry.make(check)});
  return RewardSet(std::move(members));
}

}  // namespace

ProblemScorer::ProblemScorer(const ProblemScorerOptions& options, const Tokenizer& tokenizer)
    : tokenizer_(tokenizer),
      behind_eos_(options.behind_eos),
      template_(parse_prompt_template(options.prompt_template)),
      chat_(make_chat(template_, tokenizer)),
      checks_(all_answer_checks()),
      tasks_(make_tasks(options)),
      rewards_(std::vector<RewardSet::Member>{}),
      programs_(std::vector<RewardSet::Member>{}) {
  const RewardRegistry registry = all_rewards();  // rewards of one registry share a sandbox, and what runs in it
  rewards_ = make_rewards(options.rewards, registry);
  if (tests_decide_) programs_ = make_program_check(options.program_limits, registry);
}

TaskMixture ProblemScorer::make_tasks(const ProblemScorerOptions& options) {
  constexpr std::int64_t kMostReports = 20;
  std::int64_t reported = 0;
  ProblemFileRules rules;
  rules.is_benchmark = options.is_benchmark;
  rules.refusal = [&](const Problem& problem) -> std::string {
    // Where the answer check has nothing it can read.
    tests_decide_ = tests_decide_ || (!problem.tests.empty() && !checks_.is_right(reward_sample(problem, "")));
    const std::int64_t tokens = std::ssize(prompt(problem, 0).tokens);
    if (options.max_prompt_tokens == 0 || tokens <= options.max_prompt_tokens) return "";
    return fmt::format("the prompt has {} tokens, more than the {} that the length of a row leaves to it", tokens,
                       options.max_prompt_tokens);
  };
  // Every rank reads the same; the log of rank 0 says it.
  rules.report = [&](const std::string& message) {
    if (options.logs && ++reported <= kMostReports) spdlog::info("left out: {}", message);
  };
  TaskRegistry registry;
  register_all_tasks(registry);
  register_problem_files(registry, rules);
  TaskMixture tasks(options.tasks, registry);
  if (reported > kMostReports) spdlog::info("left out: {} more", reported - kMostReports);
  return tasks;
}

RolloutPrompt ProblemScorer::prompt(const Problem& problem, std::int64_t id) const {
  if (chat_) return {id, chat_->prompt(conversation_of(problem))};
  RolloutPrompt prompt{id, {}};
  if (behind_eos_) prompt.tokens.push_back(tokenizer_.eos_id());
  tokenizer_.encode(render_prompt(template_, problem), prompt.tokens);
  return prompt;
}

RewardSample ProblemScorer::sample(const Problem& problem, std::string_view completion,
                                   std::int64_t completion_tokens) const {
  RewardSample sample = reward_sample(problem, completion, completion_tokens);
  sample.begins_in_thinking = template_ == PromptTemplate::r1;
  return sample;
}

std::vector<std::int32_t> ProblemScorer::stop_ids() const {
  const std::int32_t eos = tokenizer_.eos_id();
  if (chat_ && chat_->end_id() != eos) return {chat_->end_id(), eos};
  return {eos};
}

std::vector<std::string> ProblemScorer::stop_strings() const {
  if (chat_ || has_marks(template_)) return {};
  return {"</answer>"};
}

ScoredGroups ProblemScorer::score(std::span<const Problem> problems, std::span<const Completion> completions,
                                  std::int64_t group_size) const {
  ScoredGroups scored;
  std::vector<RewardSample> samples;
  const auto siblings = static_cast<std::size_t>(group_size);
  for (std::size_t i = 0; i < problems.size() * siblings; ++i) {
    scored.texts.push_back(tokenizer_.decode(completions[i].tokens, false));
    const auto tokens = static_cast<std::int64_t>(completions[i].tokens.size());
    samples.push_back(sample(problems[i / siblings], scored.texts.back(), tokens));
  }
  const RewardSet::Begun begun = rewards_.begin(samples);  // programs run while the rest is scored
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const std::string& text = scored.texts[i];
    scored.thinks.push_back(thinks_first(template_, text));
    scored.right.push_back(checks_.is_right(samples[i]));
  }
  judge_programs(samples, scored.right);
  for (std::size_t p = 0; p < problems.size(); ++p)
    for (RewardResult& result : rewards_.score_group(std::span(samples).subspan(p * siblings, siblings)))
      scored.results.push_back(std::move(result));
  return scored;
}

void ProblemScorer::judge_programs(std::span<const RewardSample> samples,
                                   std::vector<std::optional<bool>>& right) const {
  if (!tests_decide_) return;
  std::vector<std::size_t> open;
  std::vector<RewardSample> open_samples;
  for (std::size_t i = 0; i < samples.size(); ++i)
    if (!right[i] && !samples[i].tests.empty()) {
      open.push_back(i);
      open_samples.push_back(samples[i]);
    }
  const RewardSet::Begun begun = programs_.begin(open_samples);
  for (std::size_t i = 0; i < open.size(); ++i)
    if (const auto passed = programs_.score_group(std::span(open_samples).subspan(i, 1)).front().total)
      right[open[i]] = *passed > 0.5;
}

}  // namespace athanor
