#include "src/task/task.hpp"

#include <fmt/format.h>

#include "src/base/error.hpp"
#include "src/base/nearest_name.hpp"
#include "src/base/rng.hpp"
#include "src/reward/answer_check.hpp"

namespace athanor {
namespace {
constexpr std::uint64_t kHeldOutOneIn = 8;
}

/// FNV's low bits follow the last bytes closely: mixed (as MurmurHash3 ends), so that sides do not follow the last
/// digit.
std::uint64_t form_hash(std::string_view text) {
  std::uint64_t hash = stable_hash(text);
  hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdU;
  hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53U;
  return hash ^ hash >> 33;
}

RewardSample reward_sample(const Problem& problem, std::string_view completion, std::int64_t completion_tokens) {
  RewardSample sample;
  sample.prompt = problem.prompt;
  sample.completion = completion;
  sample.answer = problem.answer;
  sample.reward_name = problem.reward_name;
  sample.language = problem.language;
  sample.tests = problem.tests;
  sample.code_language = problem.code_language;
  sample.prompt_id = problem.id;
  sample.completion_tokens = completion_tokens;
  return sample;
}

Split split_of_form(std::string_view task, std::string_view form) {
  return form_hash(fmt::format("{}/{}", task, form)) % kHeldOutOneIn == 0 ? Split::held_out : Split::train;
}

std::optional<double> Task::verify(const Problem& problem, std::string_view completion) const {
  static const AnswerChecks kChecks = all_answer_checks();
  const auto right = kChecks.is_right(reward_sample(problem, completion));
  if (!right) return std::nullopt;
  return *right ? 1.0 : 0.0;
}

void TaskRegistry::add(std::string name, Make make) {
  if (!makers_.try_emplace(name, std::move(make)).second) throw ConfigError("task " + name + " is added twice");
}

std::unique_ptr<Task> TaskRegistry::make(const NamedSpec& spec) const {
  const auto found = makers_.find(spec.name);
  if (found == makers_.end()) throw ConfigError("task " + unknown_name(spec.name, names()));
  SpecOptions options(spec, "task");
  std::unique_ptr<Task> task = found->second(options);
  options.finish();
  return task;
}

std::unique_ptr<Task> TaskRegistry::make(std::string_view spec) const { return make(parse_named_spec(spec, "task")); }

std::vector<std::string> TaskRegistry::names() const {
  std::vector<std::string> names;
  for (const auto& [name, make] : makers_) names.push_back(name);
  return names;
}

TaskMixture::TaskMixture(std::string_view specs, const TaskRegistry& registry)
    : TaskMixture(parse_named_specs(specs, "task"), registry) {}

TaskMixture::TaskMixture(std::span<const NamedSpec> specs, const TaskRegistry& registry) {
  double sum = 0.0;
  for (const NamedSpec& spec : specs) {
    if (!(spec.weight > 0.0)) throw ConfigError("task '" + spec.text + "': the weight has to be positive");
    members_.push_back({registry.make(spec), sum += spec.weight});
  }
  if (members_.empty()) throw ConfigError("tasks: none is given; write NAME[:key=value]...[ @ WEIGHT], ...");
}

Problem TaskMixture::problem(std::uint64_t seed, std::uint64_t index, Split split) const {
  const Philox random(seed, RandomPurpose::task, stable_hash("mixture"));
  const double point = random.uniform(index) * members_.back().cumulative_weight;
  for (const Member& member : members_)
    if (point < member.cumulative_weight) return member.task->problem(seed, index, split);
  return members_.back().task->problem(seed, index, split);
}

std::optional<std::int64_t> TaskMixture::num_problems(Split split) const {
  return members_.size() == 1 ? members_.front().task->num_problems(split) : std::nullopt;
}

std::uint64_t TaskMixture::fingerprint() const {
  std::uint64_t hash = 0;
  for (const Member& member : members_) hash = hash * 0x100000001b3U ^ member.task->fingerprint();
  return hash;
}

const Task& TaskMixture::task_of(const Problem& problem) const {
  for (const Member& member : members_)
    if (member.task->name() == problem.task) return *member.task;
  throw Error("problem '" + problem.form + "' is of task '" + problem.task + "', which is not in this mixture");
}

}  // namespace athanor
