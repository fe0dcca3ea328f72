// Where a completion says its answer.
#include <algorithm>
#include <array>

#include "src/reward/answer_extraction.hpp"
#include "src/reward/math_answer.hpp"
#include "src/reward/math_answer/answer_spans.hpp"
#include "src/reward/math_answer/normalise.hpp"

namespace athanor {
namespace {

using namespace math;

constexpr std::size_t kLongestAnswer = 8192;
constexpr std::size_t kLastBytes = 1 << 18;  // an answer stands at the end; of megabytes no more than this is looked at

std::string_view last_part(std::string_view text) {
  return text.size() > kLastBytes ? text.substr(text.size() - kLastBytes) : text;
}

struct Scope {
  std::string_view text;
  bool is_block;  ///< the content of <answer>: all of it is meant as the answer
};

std::optional<Scope> scope_of(std::string_view completion) {
  constexpr std::string_view kThink = "<think>", kThinkEnd = "</think>", kAnswer = "<answer>", kAnswerEnd = "</answer>";
  if (const std::size_t end = completion.rfind(kAnswerEnd); end != std::string_view::npos)
    if (completion.substr(0, end).rfind(kAnswer) != std::string_view::npos)
      return Scope{*extract_answer(completion), true};
  if (const std::size_t end = completion.rfind(kThinkEnd); end != std::string_view::npos)
    return Scope{completion.substr(end + kThinkEnd.size()), false};
  if (completion.find(kThink) != std::string_view::npos) return std::nullopt;  // still thinking
  constexpr std::string_view kMarks = ")>";                                    // the short template: (thinking)>answer
  if (const std::size_t end = completion.rfind(kMarks); end != std::string_view::npos && completion.starts_with('('))
    return Scope{completion.substr(end + kMarks.size()), true};
  return Scope{completion, false};
}

/// "and", "or", a comma or a semicolon, or next to nothing, joins two boxes.
bool joins(std::string_view between) {
  constexpr std::size_t kNextToNothing = 10, kFarthest = 70;
  if (between.size() <= kNextToNothing) return true;
  if (between.size() > kFarthest) return false;
  return between.find("and") != std::string_view::npos || between.find("or") != std::string_view::npos ||
         between.find_first_of(",;") != std::string_view::npos;
}

std::optional<std::string> boxed_answer(std::string_view text) {
  const std::vector<Span> spans = boxed_spans(text);
  if (spans.empty()) return std::nullopt;
  std::vector<std::string_view> contents{trim(spans.back().content(text))};
  constexpr std::size_t kMost = 16;
  for (std::size_t i = spans.size() - 1; i > 0 && contents.size() < kMost; --i) {
    if (!joins(text.substr(spans[i - 1].end, spans[i].begin - spans[i - 1].end))) break;
    const std::string_view content = trim(spans[i - 1].content(text));
    if (std::find(contents.begin(), contents.end(), content) == contents.end()) contents.push_back(content);
  }
  std::string answer;
  for (auto content = contents.rbegin(); content != contents.rend(); ++content)
    answer += (answer.empty() ? "" : ", ") + std::string(*content);
  return answer;
}

/// $2$, $3$ and $5$: environments with nothing but a comma or a word between them are one answer.
std::string joined_environments(std::string_view text, Span span) {
  std::string answer(span.content(text));
  constexpr int kMost = 6;
  for (int joined = 1; joined < kMost; ++joined) {
    std::size_t next = span.end;
    bool separated = false;
    std::string_view separator = ", ";
    for (bool moved = true; moved;) {
      moved = false;
      for (const std::string_view word : {" ", ",", "and", "or"})
        if (text.substr(next).starts_with(word)) {
          next += word.size();
          moved = true;
          separated = separated || word != " ";
          if (word == "or") separator = " or ";
        }
    }
    const auto following = separated ? latex_span_at(text, next) : std::nullopt;
    if (!following) break;
    answer += separator;
    answer += following->content(text);
    span = *following;
  }
  return answer;
}

std::string_view first_sentence(std::string_view text) {
  text = text.substr(0, text.find('\n'));
  for (std::size_t i = 0; i + 1 < text.size(); ++i)
    if (text[i] == '.' && text[i + 1] == ' ') return text.substr(0, i);
  return text.substr(0, text.find("。"));
}

std::optional<std::string> answer_behind_anchor(std::string_view text) {
  std::size_t from = 0;
  for (bool moved = true; moved && from < text.size();) {
    moved = false;
    for (const std::string_view filler : {" ", "\n", "\r", "\t", ":", "：", "*", "is ", "are ", "是", "为", "="})
      if (text.substr(from).starts_with(filler)) {
        from += filler.size();
        moved = true;
      }
  }
  text = text.substr(std::min(from, text.size()));
  if (text.empty()) return std::nullopt;
  if (const auto span = latex_span_at(text, 0)) return joined_environments(text, *span);
  const std::string_view sentence = trim(first_sentence(text.substr(0, kLongestAnswer)));
  if (sentence.empty()) return std::nullopt;
  if (const auto span = first_latex_span(text, 0); span && span->begin < sentence.size())
    return joined_environments(text, *span);
  if (is_prose_with_number(sentence))
    if (const auto number = first_number(sentence)) return std::string(number->content(sentence));
  return std::string(sentence);
}

std::optional<std::string> anchored_answer(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  struct Anchors {
    std::array<std::string_view, 6> words;
  };
  static constexpr std::array kByPriority{
      Anchors{{"final answer is", "final answer:", "final answer", "最终答案是", "最终答案为", "最终答案"}},
      Anchors{{"####"}}, Anchors{{"answer:", "answer is", "答案是", "答案为", "答案：", "答案:"}},
      Anchors{{"answer", "答案"}}};
  for (const Anchors& anchors : kByPriority) {
    std::size_t best = std::string::npos, behind = 0;
    for (const std::string_view word : anchors.words) {
      const std::size_t found = word.empty() ? std::string::npos : lower.rfind(word);
      if (found == std::string::npos || (best != std::string::npos && found + word.size() <= behind)) continue;
      best = found;
      behind = found + word.size();
    }
    if (best == std::string::npos) continue;
    if (auto answer = answer_behind_anchor(text.substr(behind))) return answer;
  }
  return std::nullopt;
}

std::optional<std::string> last_expression(std::string_view text) {
  const auto latex = last_latex_span(text);
  const auto number = last_number(text);
  if (latex && (!number || latex->end >= number->end)) return std::string(latex->content(text));
  if (number) return std::string(number->content(text));
  return std::nullopt;
}

/// Short enough to be an answer without anything around it.
bool is_answer_alone(const Scope& scope, std::string_view text) {
  constexpr std::size_t kShort = 200;
  if (text.empty() || text.size() > (scope.is_block ? kLongestAnswer : kShort)) return false;
  if (!scope.is_block && text.find('\n') != std::string_view::npos) return false;
  return !is_prose_with_number(text);
}

}  // namespace

std::optional<std::string> extract_math_answer(std::string_view completion) {
  auto scope = scope_of(completion);
  if (!scope) return std::nullopt;
  scope->text = last_part(scope->text);
  if (auto boxed = boxed_answer(scope->text)) return boxed;
  if (auto anchored = anchored_answer(scope->text)) return anchored;
  const std::string_view text = trim(scope->text);
  if (is_answer_alone(*scope, text)) return std::string(text);
  return last_expression(text);
}

std::string gold_math_answer(std::string_view gold) {
  constexpr std::string_view kMark = "####";  // GSM8K
  if (const std::size_t mark = gold.rfind(kMark); mark != std::string_view::npos)
    return std::string(trim(gold.substr(mark + kMark.size())));
  if (auto boxed = boxed_answer(last_part(gold))) return *boxed;
  return std::string(trim(gold));
}

}  // namespace athanor
