#include "src/task/prompt_template.hpp"

#include <array>
#include <utility>

#include "src/base/error.hpp"
#include "src/base/nearest_name.hpp"
#include "src/reward/answer_format.hpp"

namespace athanor {
namespace {
constexpr std::string_view kExplanation =
    "A user asks, an assistant helps. The assistant first thinks the question through inside <think> </think>, then "
    "gives the answer inside <answer> </answer>.\n";
}

PromptTemplate parse_prompt_template(const std::string& name) {
  const std::array<std::string, 3> names{"r1_zero", "tags", "marks"};
  for (std::size_t i = 0; i < names.size(); ++i)
    if (names[i] == name) return static_cast<PromptTemplate>(i);
  throw ConfigError("template " + unknown_name(name, names));
}

std::string render_prompt(PromptTemplate form, const std::string& prompt) {
  if (form == PromptTemplate::marks) return "?" + prompt + "=";
  const std::string turns = "User: " + prompt + "\nAssistant:\n";
  return form == PromptTemplate::r1_zero ? std::string(kExplanation) + turns : turns;
}

std::string render_prompt(PromptTemplate form, const Problem& problem) {
  if (problem.messages.size() <= 1) return render_prompt(form, problem.prompt);
  std::string head, turns;
  for (const PromptMessage& message : problem.messages) {
    if (form == PromptTemplate::marks)
      turns += (turns.empty() ? "" : "\n") + message.content;
    else if (message.role == "system")
      head += message.content + "\n";
    else
      turns += (message.role == "user" ? "User: " : "Assistant: ") + message.content + "\n";
  }
  if (form == PromptTemplate::marks) return render_prompt(form, turns);
  return (form == PromptTemplate::r1_zero ? std::string(kExplanation) : "") + head + turns + "Assistant:\n";
}

std::string render_completion(PromptTemplate form, const Solution& solution) {
  const bool thinks = !solution.thinking.empty();
  if (form == PromptTemplate::marks) return (thinks ? "(" + solution.thinking + ")" : "") + ">" + solution.answer;
  return (thinks ? "<think>\n" + solution.thinking + "\n</think>\n" : "") + "<answer>\n" + solution.answer +
         "\n</answer>";
}

bool thinks_first(PromptTemplate form, std::string_view completion) {
  return form == PromptTemplate::marks ? completion.starts_with('(')
                                       : completion.find("<think>") != std::string_view::npos;
}

bool is_well_formed(PromptTemplate form, std::string_view completion) {
  if (form != PromptTemplate::marks) {
    RewardSample sample;
    sample.completion = completion;
    return FormatReward().score(sample) == 1.0;
  }
  const std::size_t mark = completion.find(")>");
  return completion.starts_with('(') && mark > 1 && mark != std::string_view::npos && mark + 2 < completion.size() &&
         completion.find('>', mark + 2) == std::string_view::npos;
}

}  // namespace athanor
