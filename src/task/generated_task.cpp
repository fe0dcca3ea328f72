#include "src/task/generated_task.hpp"

#include <fmt/format.h>

#include "src/base/error.hpp"
#include "src/task/wording.hpp"

namespace athanor {
namespace {

constexpr int kMostAttempts = 1000;

std::vector<Wording> wordings_named(const std::string& language) {
  if (language == "en") return {Wording::english};
  if (language == "zh") return {Wording::chinese};
  if (language == "both") return {Wording::english, Wording::chinese};
  return {Wording::symbols};
}

const char* language_of(Wording wording) {
  return wording == Wording::english ? "en" : wording == Wording::chinese ? "zh" : "";
}

}  // namespace

GeneratedTask::GeneratedTask(std::string name, SpecOptions& options, int max_level)
    : Task(std::move(name)), level_(static_cast<int>(options.integer("level", 1, 1, max_level))) {
  const std::vector<std::string> languages{"en", "zh", "both", "symbols"};
  wordings_ = wordings_named(options.word("language", "en", languages));
}

Problem GeneratedTask::problem(std::uint64_t seed, std::uint64_t index, Split split) const {
  for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
    const std::uint64_t place = index * kMostAttempts + static_cast<std::uint64_t>(attempt);
    Draw draw(seed, stable_hash(name()) + place * 0x9E3779B97F4A7C15U);
    const Wording wording = draw.one_of(wordings_);
    Problem problem = this->draw(draw, wording);
    if (split_of_form(name(), problem.form) != split) continue;
    problem.difficulty = level_;
    problem.language = language_of(wording);
    problem.task = name();
    problem.id =
        static_cast<std::int64_t>(form_hash(fmt::format("{}/{}/{}", name(), problem.form, problem.language)) >> 1);
    return problem;
  }
  throw Error(fmt::format("task {} at level {} has no {} problems: {} draws all fell on the other side", name(), level_,
                          split == Split::train ? "training" : "held-out", kMostAttempts));
}

Solution GeneratedTask::work_out_as_drawn(const Problem& problem, Wording wording, bool correct) const {
  Draw slip(static_cast<std::uint64_t>(problem.id), static_cast<std::uint64_t>(SolutionStyle::step_by_step));
  return work_out(problem, wording, correct ? nullptr : &slip);
}

std::string GeneratedTask::mixed_thinking(const Problem& problem, bool correct) const {
  const std::vector<std::string> english = sentences_of(work_out_as_drawn(problem, Wording::english, correct).thinking);
  const std::vector<std::string> chinese = sentences_of(work_out_as_drawn(problem, Wording::chinese, correct).thinking);
  if (english.size() != chinese.size())
    throw Error(fmt::format("task {}: {} English sentences and {} Chinese ones for '{}': they cannot be mixed", name(),
                            english.size(), chinese.size(), problem.form));
  Draw languages(static_cast<std::uint64_t>(problem.id), stable_hash("languages of sentences"));
  std::vector<std::string> mixed;
  for (std::size_t i = 0; i < english.size(); ++i) mixed.push_back(languages.chance(0.5) ? english[i] : chinese[i]);
  return joined_sentences(mixed);
}

Solution GeneratedTask::solution(const Problem& problem, SolutionStyle style, bool correct) const {
  const Wording wording = wording_of(problem);
  if (style == SolutionStyle::mixed_language) {
    if (wording == Wording::symbols)
      throw ConfigError(
          fmt::format("task {}: language=symbols has no sentences to mix languages in; give "
                      "language=both, or leave out mixed_language",
                      name()));
    return {mixed_thinking(problem, correct), work_out_as_drawn(problem, wording, correct).answer};
  }
  Draw slip(static_cast<std::uint64_t>(problem.id), static_cast<std::uint64_t>(style));
  Solution solution = work_out(problem, wording, correct ? nullptr : &slip);
  if (style == SolutionStyle::direct) solution.thinking.clear();
  return solution;
}

}  // namespace athanor
