#include "src/reward/answer_extraction.hpp"

namespace athanor {
namespace {
constexpr std::string_view kThink = "<think>", kThinkEnd = "</think>", kAnswer = "<answer>", kAnswerEnd = "</answer>";

bool has_tags(std::string_view text) {
  for (const std::string_view tag : {kThink, kThinkEnd, kAnswer, kAnswerEnd})
    if (text.find(tag) != std::string_view::npos) return true;
  return false;
}
}  // namespace

std::string_view trimmed_text(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n\v\f");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n\v\f") - first + 1);
}

std::optional<std::string_view> extract_answer(std::string_view completion) {
  if (has_tags(completion)) {
    const std::size_t end = completion.rfind(kAnswerEnd);
    if (end == std::string_view::npos) return std::nullopt;
    const std::size_t begin = completion.substr(0, end).rfind(kAnswer);
    if (begin == std::string_view::npos) return std::nullopt;
    return trimmed_text(completion.substr(begin + kAnswer.size(), end - begin - kAnswer.size()));
  }
  const std::size_t mark = completion.rfind('>');
  if (mark == std::string_view::npos) return std::nullopt;
  return trimmed_text(completion.substr(mark + 1));
}

std::string_view extract_thinking(std::string_view completion) {
  if (const std::size_t end = completion.rfind(kThinkEnd); end != std::string_view::npos) {
    std::string_view thinking = completion.substr(0, end);
    if (const std::size_t begin = thinking.find(kThink); begin != std::string_view::npos)
      thinking.remove_prefix(begin + kThink.size());
    return thinking;
  }
  if (const std::size_t end = completion.rfind(")>"); completion.starts_with('(') && end != std::string_view::npos)
    return completion.substr(1, end - 1);
  return completion;
}

}  // namespace athanor
