#include "src/filter/completion_parts.hpp"

#include "src/reward/answer_extraction.hpp"
#include "src/text/utf8.hpp"

namespace athanor {
namespace {

constexpr std::string_view kThink = "<think>", kThinkEnd = "</think>", kAnswer = "<answer>", kAnswerEnd = "</answer>";

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

bool has_tags(std::string_view text) {
  return contains(text, kThink) || contains(text, kThinkEnd) || contains(text, kAnswer) || contains(text, kAnswerEnd);
}

std::optional<CompletionParts> parts(CompletionLayout layout, std::string_view reasoning, std::string_view answer) {
  reasoning = trimmed_text(reasoning);
  answer = trimmed_text(answer);
  if (answer.empty() || has_tags(reasoning) || has_tags(answer)) return std::nullopt;
  return CompletionParts{layout, std::string(reasoning), std::string(answer)};
}

std::optional<CompletionParts> split_marks(std::string_view text) {
  const std::size_t mark = text.starts_with('>') ? 0 : text.starts_with('(') ? text.find(")>") : text.npos;
  if (mark == std::string_view::npos) return std::nullopt;
  const std::string_view answer = text.substr(mark == 0 ? 1 : mark + 2);
  if (contains(answer, ">")) return std::nullopt;
  return parts(CompletionLayout::marks, mark == 0 ? "" : text.substr(1, mark - 1), answer);
}

/// Of the text behind the thinking, with both tags around it.
std::optional<std::string_view> tagged_answer(std::string_view text) {
  if (!text.starts_with(kAnswer) || !text.ends_with(kAnswerEnd)) return std::nullopt;
  text.remove_prefix(kAnswer.size());
  if (text.size() < kAnswerEnd.size()) return std::nullopt;
  text.remove_suffix(kAnswerEnd.size());
  return text;
}

}  // namespace

std::optional<CompletionParts> split_completion(std::string_view completion) {
  if (find_invalid_utf8(completion)) return std::nullopt;
  const std::string_view text = trimmed_text(completion);
  if (!has_tags(text)) return split_marks(text);
  const std::size_t end = text.find(kThinkEnd);
  std::string_view reasoning = end == std::string_view::npos ? std::string_view{} : text.substr(0, end);
  reasoning = trimmed_text(reasoning);
  if (reasoning.starts_with(kThink)) reasoning.remove_prefix(kThink.size());
  const std::string_view rest =
      trimmed_text(end == std::string_view::npos ? text : text.substr(end + kThinkEnd.size()));
  if (const auto answer = tagged_answer(rest)) return parts(CompletionLayout::tags, reasoning, *answer);
  if (end == std::string_view::npos) return std::nullopt;
  return parts(CompletionLayout::r1, reasoning, rest);
}

}  // namespace athanor
