#include "src/task/task_text.hpp"

#include <utility>

#include "src/base/error.hpp"
#include "src/task/draw.hpp"
#include "src/task/wording.hpp"

namespace athanor {
namespace {

/// An argument "key=value" is an option; the '=' of a task's option stands behind a ':'.
bool is_option(std::string_view argument) { return argument.find('=') < argument.find(':'); }

std::vector<std::string_view> arguments_of(std::string_view text, bool options) {
  std::vector<std::string_view> arguments;
  for (;;) {
    const std::size_t comma = text.find(',');
    if (is_option(text.substr(0, comma)) == options) arguments.push_back(text.substr(0, comma));
    if (comma == std::string_view::npos) return arguments;
    text.remove_prefix(comma + 1);
  }
}

TaskMixture mixture_of(std::string_view text) {
  TaskRegistry registry;
  register_all_tasks(registry);
  std::vector<NamedSpec> specs;
  for (const std::string_view argument : arguments_of(text, false)) specs.push_back(parse_named_spec(argument, "task"));
  return TaskMixture(specs, registry);
}

}  // namespace

TaskText::TaskText(std::string_view arguments, TaskTextKind kind) : tasks_(mixture_of(arguments)) {
  const bool chats = kind == TaskTextKind::chats;
  if (chats) {
    options_.step_by_step = 1.0;
    options_.wrong_direct = 0.0;
    options_.bytes = 1'000'000;
  }
  std::string text = chats ? "chats" : "tasks";
  for (const std::string_view argument : arguments_of(arguments, true)) text += ":" + std::string(argument);
  const NamedSpec spec = parse_named_spec(text, "generated text");
  SpecOptions given(spec, "generated text");
  options_.step_by_step = given.number("step_by_step", options_.step_by_step, 0.0, 1.0);
  options_.wrong_direct = given.number("wrong_direct", options_.wrong_direct, 0.0, 1.0);
  options_.wrong_step_by_step = given.number("wrong_step_by_step", options_.wrong_step_by_step, 0.0, 1.0);
  options_.mixed_language = given.number("mixed_language", options_.mixed_language, 0.0, 1.0);
  if (chats) {
    const std::vector<std::string> places{"reasoning", "content"};
    options_.steps_in_content = given.word("steps", "reasoning", places) == "content";
  } else {
    options_.in_sentences = given.number("in_sentences", options_.in_sentences, 0.0, 1.0);
    // Chat layouts are no text: their special tokens cannot be written into a document.
    const std::vector<std::string> templates{"r1_zero", "tags", "marks", "lines"};
    options_.form = parse_prompt_template(given.word("template", "marks", templates));
  }
  options_.seed = static_cast<std::uint64_t>(given.integer("seed", 1, 0, INT64_MAX));
  options_.bytes = given.integer("bytes", options_.bytes, 1, std::int64_t{1} << 36);
  given.finish();
}

TaskText::Drawn TaskText::draw(std::uint64_t index) const {
  const Problem problem = tasks_.problem(options_.seed, index, Split::train);
  Draw draw(options_.seed, stable_hash("task text") + index * 0x9E3779B97F4A7C15U);
  const bool thinks = draw.chance(options_.step_by_step);
  const bool wrong = draw.chance(thinks ? options_.wrong_step_by_step : options_.wrong_direct);
  const bool mixes = thinks && draw.chance(options_.mixed_language);
  const SolutionStyle style = mixes    ? SolutionStyle::mixed_language
                              : thinks ? SolutionStyle::step_by_step
                                       : SolutionStyle::direct;
  const bool in_sentences = thinks && draw.chance(options_.in_sentences);
  return {problem, tasks_.task_of(problem).solution(problem, style, !wrong), !wrong, in_sentences};
}

std::string TaskText::document(std::uint64_t index) const {
  const Drawn drawn = draw(index);
  if (drawn.in_sentences) {
    const ChatMessage answer = assistant_message(drawn.problem, drawn.solution);
    return drawn.problem.prompt + "\n" + joined_sentences({answer.reasoning, answer.content}) + "\n";
  }
  return render_prompt(options_.form, drawn.problem.prompt) + render_completion(options_.form, drawn.solution);
}

TaskChat TaskText::chat(std::uint64_t index) const {
  Drawn drawn = draw(index);
  ChatMessage answer = assistant_message(drawn.problem, drawn.solution);
  if (options_.steps_in_content && !answer.reasoning.empty())
    answer.content = joined_sentences({std::exchange(answer.reasoning, ""), answer.content});
  const ChatMessage question{"user", drawn.problem.prompt};
  return {std::move(drawn.problem), {question, std::move(answer)}, drawn.correct};
}

}  // namespace athanor
