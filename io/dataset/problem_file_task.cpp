#include "io/dataset/problem_file_task.hpp"

#include <fmt/format.h>

#include <array>
#include <filesystem>
#include <set>
#include <utility>

#include "src/base/error.hpp"
#include "src/base/rng.hpp"

namespace athanor {
namespace {

/// What prompts are compared by: all that the user says.
std::string form_of(const Problem& problem) {
  if (problem.messages.empty()) return problem.prompt;
  std::string form;
  for (const PromptMessage& message : problem.messages)
    if (message.role == "user") form += (form.empty() ? "" : "\n") + message.content;
  return form;
}

ProblemFields fields_of(SpecOptions& options) {
  const std::array<std::string, 2> formats{"plain", "gsm8k"};
  ProblemFields fields;
  if (options.word("format", "plain", formats) == "gsm8k") fields = {"question", "answer", "####"};
  fields.prompt = options.text("prompt", fields.prompt);
  fields.answer = options.text("answer", fields.answer);
  fields.answer_mark = options.text("mark", fields.answer_mark);
  return fields;
}

}  // namespace

ProblemFileTask::ProblemFileTask(SpecOptions& options, const ProblemFileRules& rules)
    : Task(options.text("name", std::filesystem::path(options.subject("FILE")).stem().string())),
      file_(options.subject("FILE")),
      reward_(options.text("reward", "")),
      language_(options.text("language", "")),
      checks_(all_answer_checks()) {
  const ProblemFields fields = fields_of(options);
  const std::string held_out_file = options.text("held_out", "");
  const std::array<std::string, 2> parts{"split", "all"};
  const bool all = options.word("part", rules.is_benchmark ? "all" : "split", parts) == "all";
  BadLines bad_lines;
  bad_lines.max_share = options.number("max_bad", 0.01, 0.0, 1.0);
  options.finish();  // a misspelt option is told before it makes every line a bad one
  bad_lines.report = rules.report;
  bad_lines.refusal = [&](const Problem& read) -> std::string {
    Problem problem = read;
    if (problem.reward_name.empty()) problem.reward_name = reward_;
    if (!problem.messages.empty() && problem.messages.back().role != "user")
      return fmt::format("{}: the conversation ends with the turn of '{}', not the user's", fields.prompt,
                         problem.messages.back().role);
    // Whoever knows the check only when a completion is there has spent time on it.
    try {
      if (!checks_.is_right(reward_sample(problem, "")) && problem.tests.empty())
        return fmt::format("{}: '{}' is no answer that its check can read", fields.answer, problem.answer);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return rules.refusal ? rules.refusal(problem) : "";
  };
  std::vector<Problem> problems = read(file_, fields, bad_lines);
  if (!held_out_file.empty()) {
    held_out_ = read(held_out_file, fields, bad_lines);
    std::set<std::string> held_out_forms;
    for (const Problem& problem : held_out_) held_out_forms.insert(problem.form);
    const std::size_t before = problems.size();
    std::erase_if(problems, [&](const Problem& problem) { return held_out_forms.contains(problem.form); });
    if (before != problems.size() && rules.report)
      rules.report(fmt::format("{}: {} problems are in {} too and not trained on", file_, before - problems.size(),
                               held_out_file));
    train_ = std::move(problems);
  } else if (all) {
    held_out_ = std::move(problems);
  } else {
    for (Problem& problem : problems)
      (split_of_form("jsonl", problem.form) == Split::train ? train_ : held_out_).push_back(std::move(problem));
  }
  if ((train_.empty() && !all) || held_out_.empty())
    options.refuse(fmt::format("{} problems to train on and {} held out; give held_out=FILE, or more problems",
                               train_.size(), held_out_.size()));
}

std::vector<Problem> ProblemFileTask::read(const std::string& path, const ProblemFields& fields,
                                           const BadLines& bad_lines) {
  std::vector<Problem> problems = read_problems(path, fields, bad_lines);
  for (Problem& problem : problems) {
    if (problem.reward_name.empty()) problem.reward_name = reward_;
    if (problem.language.empty()) problem.language = language_;
    problem.task = name();
    problem.form = form_of(problem);
    std::string content =
        fmt::format("{}\n{}\n{}\n{}", problem.form, problem.answer, problem.reward_name, problem.language);
    for (const TestCase& test : problem.tests) content += "\n" + test.input + "\n" + test.output;
    fingerprint_ = fingerprint_ * 0x100000001b3U ^ stable_hash(content);
  }
  return problems;
}

std::optional<std::int64_t> ProblemFileTask::num_problems(Split split) const { return std::ssize(side(split)); }

Problem ProblemFileTask::problem(std::uint64_t seed, std::uint64_t index, Split split) const {
  const std::vector<Problem>& problems = side(split);
  if (problems.empty())
    throw ConfigError(fmt::format("task {}: {} has no {} problems; its options give all of them to the other side",
                                  name(), file_, split == Split::train ? "training" : "held-out"));
  const std::uint64_t count = problems.size(), pass = index / count;
  const Philox random(seed, RandomPurpose::task, stable_hash(name()) + pass * 0x9E3779B97F4A7C15U);
  return problems[permuted_index(random, count, index % count)];
}

Solution ProblemFileTask::solution(const Problem&, SolutionStyle, bool) const {
  throw ConfigError(
      fmt::format("task {}: {} has answers, but no right and wrong solutions to write text from", name(), file_));
}

void register_problem_files(TaskRegistry& registry, ProblemFileRules rules) {
  registry.add("jsonl", [rules = std::move(rules)](SpecOptions& options) {
    return std::make_unique<ProblemFileTask>(options, rules);
  });
}

}  // namespace athanor
