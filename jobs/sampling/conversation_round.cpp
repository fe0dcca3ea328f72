#include "jobs/sampling/conversation_round.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "io/dataset/conversation_file.hpp"
#include "jobs/inference_model.hpp"
#include "src/base/error.hpp"
#include "src/base/stopwatch.hpp"
#include "src/filter/r1_rewrite.hpp"

namespace athanor {
namespace {
using nlohmann::json;
using nlohmann::ordered_json;

constexpr int kNoRejection = -1;

std::string packed(const JudgedCompletion& judged) {
  const int reason = judged.rejection ? static_cast<int>(*judged.rejection) : kNoRejection;
  return json::array({judged.problem, judged.sibling, judged.tokens, judged.right, reason, judged.line}).dump() + "\n";
}

JudgedCompletion unpacked(const std::string& line) {
  const json fields = json::parse(line);
  JudgedCompletion judged{.problem = fields[0].get<std::int64_t>(),
                          .sibling = fields[1].get<std::int64_t>(),
                          .tokens = fields[2].get<std::int64_t>(),
                          .right = fields[3].get<bool>(),
                          .rejection = {},
                          .line = fields[5].get<std::string>()};
  const int reason = fields[4].get<int>();
  if (reason != kNoRejection) judged.rejection = static_cast<Rejection>(reason);
  return judged;
}

/// All that ranks wrote, in the order of problems and siblings; on rank 0.
std::vector<JudgedCompletion> gathered(HostGroup& world, const std::string& mine) {
  std::vector<JudgedCompletion> all;
  for (const std::string& part : world.gather(mine, 0))
    for (std::size_t at = 0; at < part.size();) {
      const std::size_t end = part.find('\n', at);
      all.push_back(unpacked(part.substr(at, end - at)));
      at = end + 1;
    }
  std::sort(all.begin(), all.end(), [](const JudgedCompletion& a, const JudgedCompletion& b) {
    return std::pair(a.problem, a.sibling) < std::pair(b.problem, b.sibling);
  });
  return all;
}

}  // namespace

std::int64_t sampled_tokens(const JobOptions& options) {
  return options.sampling.max_new_tokens > 0 ? options.sampling.max_new_tokens : options.rl.max_new_tokens;
}

ProblemScorerOptions sampling_scorer_options(const JobOptions& options, const Tokenizer& tokenizer, bool logs) {
  return {.tasks = options.rl.tasks,
          .rewards = "",
          .program_limits = options.rl.rewards,
          .prompt_template = options.rl.prompt_template,
          .behind_eos = !options.data.isolate_documents,
          .max_prompt_tokens = prompt_room(options, tokenizer, sampled_tokens(options), "sampling.max_new_tokens"),
          .logs = logs};
}

std::int64_t num_sampled_problems(const JobOptions& options, const ProblemScorer& scorer) {
  const std::int64_t wanted = options.sampling.problems;
  const auto there = scorer.tasks().num_problems(Split::train);
  if (wanted == 0 && !there)
    throw ConfigError("sampling.problems = 0 asks for all problems, but rl.tasks = " + options.rl.tasks +
                      " has no end; give a number");
  return wanted == 0 ? *there : std::min(wanted, there.value_or(wanted));
}

ConversationSampler::ConversationSampler(ProcessMesh& mesh, const ProblemScorer& scorer, RolloutEngine& engine,
                                         const Decontamination& decontamination, const JobOptions& options,
                                         SampledFrom from)
    : mesh_(mesh),
      scorer_(scorer),
      engine_(engine),
      decontamination_(decontamination),
      options_(options),
      from_(std::move(from)) {}

SamplingRound ConversationSampler::round(std::int64_t first, std::int64_t count) {
  HostGroup& world = mesh_.host(Axis::world);
  const bool counts = counts_problems(mesh_);
  SamplingRound round;
  round.problems = count;
  DrawnProblems drawn = draw_problems(mesh_, scorer_, {options_.run.seed, first, count, Split::train});
  std::int64_t contaminated = 0;
  for (std::size_t p = drawn.problems.size(); p-- > 0;) {
    if (!decontamination_.asks(drawn.problems[p])) continue;
    drawn.problems.erase(drawn.problems.begin() + static_cast<std::ptrdiff_t>(p));
    drawn.prompts.erase(drawn.prompts.begin() + static_cast<std::ptrdiff_t>(p));
    contaminated += counts ? 1 : 0;
  }
  round.contaminated_problems = world.sum(contaminated);

  const RejectionSamplingOptions& sampling = options_.sampling;
  RolloutOptions rollout;
  rollout.sampling = sampling.sampler;
  rollout.max_new_tokens = sampled_tokens(options_);
  rollout.group_size = sampling.samples;
  rollout.seed = options_.run.seed;
  const auto begin = Clock::now();
  complete(drawn, engine_, scorer_, rollout, mesh_);
  round.seconds = world.max(seconds_since(begin));

  const ScoredGroups scored = score(drawn, scorer_, sampling.samples, mesh_);
  std::string mine;
  std::int64_t tokens = 0;
  for (std::size_t i = 0; counts && i < drawn.completions.size(); ++i) {
    const std::size_t p = i / static_cast<std::size_t>(sampling.samples);
    const JudgedCompletion judged =
        judge(drawn.problems[p], drawn.prompts[p].id, drawn.completions[i], scored.texts[i], scored.right[i]);
    tokens += judged.tokens;
    mine += packed(judged);
  }
  round.tokens_per_second = static_cast<double>(world.sum(tokens)) / std::max(1e-9, round.seconds);
  round.completions = gathered(world, mine);
  return round;
}

JudgedCompletion ConversationSampler::judge(const Problem& problem, std::int64_t number, const Completion& completion,
                                            const std::string& text, std::optional<bool> right) const {
  JudgedCompletion judged{number, completion.sibling, std::ssize(completion.tokens), right.value_or(false), {}, {}};
  const auto reject = [&](Rejection reason) {
    judged.rejection = reason;
    return judged;
  };
  if (completion.end == Completion::End::length) return reject(Rejection::truncated);
  if (!right) return reject(Rejection::unreadable);
  if (!*right) return reject(Rejection::wrong);
  const auto parts = split_completion(text);
  if (!parts) return reject(Rejection::no_format);
  if (const auto fault = readability_fault(*parts, problem.language, judged.tokens, options_.sampling.readability))
    return reject(*fault);
  if (decontamination_.tells(*parts)) return reject(Rejection::contaminated);
  judged.line = conversation(problem, judged, text, *parts);
  return judged;
}

std::string ConversationSampler::conversation(const Problem& problem, const JudgedCompletion& judged,
                                              const std::string& text, const CompletionParts& parts) const {
  const bool rewrites = options_.sampling.rewrite_r1;
  const AssistantText words = rewrites ? rewrite_r1(parts, problem.language) : own_words(parts);
  std::vector<ChatMessage> messages = conversation_of(problem);
  messages.push_back({"assistant", words.content, words.reasoning_content});
  // id, reward, completion and completion_tokens are there for `athanor score`: what was sampled, as it was judged.
  ordered_json line{{"messages", messages_json(messages)},
                    {"answer", problem.answer},
                    {"language", problem.language},
                    {"task", problem.task},
                    {"id", problem.id},
                    {"reward", problem.reward_name},
                    {"completion", text},
                    {"completion_tokens", judged.tokens},
                    {"provenance",
                     {{"stage", from_.stage},
                      {"checkpoint", from_.checkpoint},
                      {"problem", judged.problem},
                      {"sibling", judged.sibling},
                      {"seed", from_.seed}}}};
  if (rewrites) line["provenance"]["rewrite"] = "r1";
  return line.dump();
}

}  // namespace athanor
