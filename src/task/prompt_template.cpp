#include "src/task/prompt_template.hpp"

#include <array>
#include <utility>

#include "src/base/error.hpp"
#include "src/base/nearest_name.hpp"

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

std::string render_completion(PromptTemplate form, const Solution& solution) {
  const bool thinks = !solution.thinking.empty();
  if (form == PromptTemplate::marks) return (thinks ? "(" + solution.thinking + ")" : "") + ">" + solution.answer;
  return (thinks ? "<think>\n" + solution.thinking + "\n</think>\n" : "") + "<answer>\n" + solution.answer +
         "\n</answer>";
}

}  // namespace athanor
