#include "src/reward/answer_extraction.hpp"

#include <algorithm>
#include <initializer_list>
#include <string>

namespace athanor {
namespace {
constexpr std::string_view kThink = "<think>", kThinkEnd = "</think>", kAnswer = "<answer>", kAnswerEnd = "</answer>";

bool has_any(std::string_view text, std::initializer_list<std::string_view> parts) {
  for (const std::string_view part : parts)
    if (text.find(part) != std::string_view::npos) return true;
  return false;
}

/// Up to the end of the sentence that `text` begins with; a point between digits is no end.
std::string_view first_sentence(std::string_view text) {
  text = text.substr(0, text.find('\n'));
  text = text.substr(0, text.find("。"));
  for (std::size_t at = text.find('.'); at != std::string_view::npos; at = text.find('.', at + 1))
    if (at + 1 == text.size() || text[at + 1] == ' ') return text.substr(0, at);
  return text;
}

/// Where the sentence begins that `at` stands in.
std::size_t sentence_begin(std::string_view text, std::size_t at) {
  const std::string_view before = text.substr(0, at);
  std::size_t begin = 0;
  for (const std::string_view end : {"\n", ". ", "。"})
    if (const std::size_t found = before.rfind(end); found != std::string_view::npos)
      begin = std::max(begin, found + end.size());
  return begin;
}

/// The content of the braces that open before `from`; nullopt: they are not closed.
std::optional<std::string_view> braced(std::string_view text, std::size_t from) {
  int depth = 1;
  for (std::size_t at = from; at < text.size(); ++at) {
    if (text[at] == '{') ++depth;
    if (text[at] == '}' && --depth == 0) return text.substr(from, at - from);
  }
  return std::nullopt;
}
}  // namespace

std::string_view trimmed_text(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n\v\f");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n\v\f") - first + 1);
}

std::optional<StatedAnswer> find_stated_answer(std::string_view text) {
  constexpr std::string_view kBox = "\\boxed{";
  if (const std::size_t box = text.rfind(kBox); box != std::string_view::npos)
    if (const auto content = braced(text, box + kBox.size()))
      return StatedAnswer{sentence_begin(text, box), trimmed_text(*content)};
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  std::size_t anchor = std::string::npos, behind = 0;
  for (const std::string_view words : {"answer is", "answer:", "答案是", "答案为", "答案：", "答案:", "####"}) {
    const std::size_t found = lower.rfind(words);
    if (found == std::string::npos || (anchor != std::string::npos && found < anchor)) continue;
    anchor = found;
    behind = found + words.size();
  }
  if (anchor == std::string::npos) return std::nullopt;
  std::string_view rest = text.substr(behind);
  for (const std::string_view colon : {":", "："})
    if (rest.starts_with(colon)) rest.remove_prefix(colon.size());
  const std::size_t first = rest.find_first_not_of(" \t");
  const std::string_view answer = trimmed_text(first_sentence(rest.substr(std::min(first, rest.size()))));
  if (answer.empty()) return std::nullopt;
  return StatedAnswer{sentence_begin(text, anchor), answer};
}

std::optional<std::string_view> extract_answer(std::string_view completion) {
  const std::size_t thought = completion.rfind(kThinkEnd);
  if (thought != std::string_view::npos && !has_any(completion, {kThink, kAnswer, kAnswerEnd})) {
    const std::string_view summary = trimmed_text(completion.substr(thought + kThinkEnd.size()));
    if (const auto stated = find_stated_answer(summary)) return stated->answer;
    if (summary.empty() || summary.find('\n') != std::string_view::npos) return std::nullopt;
    return summary;
  }
  if (has_any(completion, {kThink, kThinkEnd, kAnswer, kAnswerEnd})) {
    const std::size_t end = completion.rfind(kAnswerEnd);
    if (end == std::string_view::npos) return std::nullopt;
    const std::size_t begin = completion.substr(0, end).rfind(kAnswer);
    if (begin == std::string_view::npos) return std::nullopt;
    return trimmed_text(completion.substr(begin + kAnswer.size(), end - begin - kAnswer.size()));
  }
  if (!completion.starts_with('(') && !completion.starts_with('>'))
    if (const auto stated = find_stated_answer(completion)) return stated->answer;
  const std::size_t mark = completion.rfind('>');
  if (mark == std::string_view::npos) return std::nullopt;
  return trimmed_text(completion.substr(mark + 1));
}

std::string_view part_with_answer(const RewardSample& sample) {
  const std::string_view completion = sample.completion;
  if (!sample.begins_in_thinking) return completion;
  const std::size_t thought = completion.rfind(kThinkEnd);
  return thought == std::string_view::npos ? std::string_view() : completion.substr(thought);
}

std::optional<std::string_view> extract_answer(const RewardSample& sample) {
  return extract_answer(part_with_answer(sample));
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
