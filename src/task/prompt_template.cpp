#include "src/task/prompt_template.hpp"

#include <array>
#include <utility>

#include "src/base/error.hpp"
#include "src/base/nearest_name.hpp"
#include "src/filter/r1_rewrite.hpp"
#include "src/reward/answer_extraction.hpp"
#include "src/reward/answer_format.hpp"

namespace athanor {
namespace {
constexpr std::string_view kExplanation =
    "A user asks, an assistant helps. The assistant first thinks the question through inside <think> </think>, then "
    "gives the answer inside <answer> </answer>.\n";

void require_text(PromptTemplate form) {
  if (chat_layout_of(form)) throw Error("prompt template: a chat layout is made of special tokens and has no text");
}
}  // namespace

PromptTemplate parse_prompt_template(const std::string& name) {
  const std::array<std::string, 8> names{"r1_zero", "tags", "marks", "lines", "r1", "v3", "chatml", "llama3"};
  for (std::size_t i = 0; i < names.size(); ++i)
    if (names[i] == name) return static_cast<PromptTemplate>(i);
  throw ConfigError("template " + unknown_name(name, names));
}

bool has_marks(PromptTemplate form) { return form == PromptTemplate::marks || form == PromptTemplate::lines; }

std::optional<ChatLayout> chat_layout_of(PromptTemplate form) {
  switch (form) {
    case PromptTemplate::r1:
      return ChatLayout::r1;
    case PromptTemplate::v3:
      return ChatLayout::v3;
    case PromptTemplate::chatml:
      return ChatLayout::chatml;
    case PromptTemplate::llama3:
      return ChatLayout::llama3;
    default:
      return std::nullopt;
  }
}

std::vector<ChatMessage> conversation_of(const Problem& problem) {
  if (problem.messages.empty()) return {{"user", problem.prompt}};
  return problem.messages;
}

ChatMessage assistant_message(const Problem& problem, const Solution& solution) {
  return {"assistant", summary_of(solution.answer, problem.language), solution.thinking};
}

std::string render_prompt(PromptTemplate form, const std::string& prompt) {
  require_text(form);
  if (has_marks(form)) return "?" + prompt + (form == PromptTemplate::lines ? "\n" : "=");
  const std::string turns = "User: " + prompt + "\nAssistant:\n";
  return form == PromptTemplate::r1_zero ? std::string(kExplanation) + turns : turns;
}

std::string render_prompt(PromptTemplate form, const Problem& problem) {
  if (problem.messages.size() <= 1) return render_prompt(form, problem.prompt);
  require_text(form);
  std::string head, turns;
  for (const PromptMessage& message : problem.messages) {
    if (has_marks(form))
      turns += (turns.empty() ? "" : "\n") + message.content;
    else if (message.role == "system")
      head += message.content + "\n";
    else
      turns += (message.role == "user" ? "User: " : "Assistant: ") + message.content + "\n";
  }
  if (has_marks(form)) return render_prompt(form, turns);
  return (form == PromptTemplate::r1_zero ? std::string(kExplanation) : "") + head + turns + "Assistant:\n";
}

std::string render_completion(PromptTemplate form, const Solution& solution) {
  require_text(form);
  const bool thinks = !solution.thinking.empty();
  if (has_marks(form)) return (thinks ? "(" + solution.thinking + ")" : "") + ">" + solution.answer;
  return (thinks ? "<think>\n" + solution.thinking + "\n</think>\n" : "") + "<answer>\n" + solution.answer +
         "\n</answer>";
}

bool thinks_first(PromptTemplate form, std::string_view completion) {
  if (has_marks(form)) return completion.starts_with('(');
  if (form == PromptTemplate::r1) return !trimmed_text(extract_thinking(completion)).empty();
  if (!chat_layout_of(form)) return completion.find("<think>") != std::string_view::npos;
  const auto stated = find_stated_answer(completion);
  return stated && !trimmed_text(completion.substr(0, stated->sentence)).empty();
}

bool is_well_formed(PromptTemplate form, std::string_view completion) {
  if (form == PromptTemplate::v3 || form == PromptTemplate::chatml || form == PromptTemplate::llama3)
    return find_stated_answer(completion) && completion.find("think>") == std::string_view::npos;
  if (!has_marks(form)) {
    RewardSample sample;
    sample.completion = completion;
    return FormatReward(form == PromptTemplate::r1 ? AnswerLayout::r1 : AnswerLayout::tags).score(sample) == 1.0;
  }
  const std::size_t mark = completion.find(")>");
  return completion.starts_with('(') && mark > 1 && mark != std::string_view::npos && mark + 2 < completion.size() &&
         completion.find('>', mark + 2) == std::string_view::npos;
}

}  // namespace athanor
