#include "src/task/task_text.hpp"

#include "src/base/error.hpp"
#include "src/task/draw.hpp"

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

TaskText::TaskText(std::string_view arguments) : tasks_(mixture_of(arguments)) {
  std::string text = "tasks";
  for (const std::string_view argument : arguments_of(arguments, true)) text += ":" + std::string(argument);
  const NamedSpec spec = parse_named_spec(text, "generated text");
  SpecOptions given(spec, "generated text");
  options_.step_by_step = given.number("step_by_step", options_.step_by_step, 0.0, 1.0);
  options_.wrong_direct = given.number("wrong_direct", options_.wrong_direct, 0.0, 1.0);
  options_.wrong_step_by_step = given.number("wrong_step_by_step", options_.wrong_step_by_step, 0.0, 1.0);
  const std::vector<std::string> templates{"r1_zero", "tags", "marks"};
  options_.form = parse_prompt_template(given.word("template", "marks", templates));
  options_.seed = static_cast<std::uint64_t>(given.integer("seed", 1, 0, INT64_MAX));
  options_.bytes = given.integer("bytes", options_.bytes, 1, std::int64_t{1} << 36);
  given.finish();
}

std::string TaskText::document(std::uint64_t index) const {
  const Problem problem = tasks_.problem(options_.seed, index, Split::train);
  Draw draw(options_.seed, stable_hash("task text") + index * 0x9E3779B97F4A7C15U);
  const bool thinks = draw.chance(options_.step_by_step);
  const bool wrong = draw.chance(thinks ? options_.wrong_step_by_step : options_.wrong_direct);
  const Solution solution =
      tasks_.task_of(problem).solution(problem, thinks ? SolutionStyle::step_by_step : SolutionStyle::direct, !wrong);
  return render_prompt(options_.form, problem.prompt) + render_completion(options_.form, solution);
}

}  // namespace athanor
