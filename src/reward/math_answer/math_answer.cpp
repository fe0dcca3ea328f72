// The verdict on two answers: as texts, as options, as words, and as mathematics in every reading of their commas.
#include "src/reward/math_answer.hpp"

#include <algorithm>
#include <vector>

#include "src/reward/math_answer/compare.hpp"
#include "src/reward/math_answer/normalise.hpp"
#include "src/reward/math_answer/parser.hpp"

namespace athanor {
namespace {

using namespace math;

/// 1000,99: one comma between digits and nothing that could make it a list. Whether it is tried depends on the other
/// answer, which then has no comma.
bool may_be_decimal_comma(std::string_view text) {
  return std::count(text.begin(), text.end(), ',') == 1 && has_ambiguous_comma(text) &&
         text.find_first_of("()[]{};") == std::string_view::npos;
}

bool has_comma(std::string_view text) { return text.find(',') != std::string_view::npos; }

std::vector<Reading> readings_of(std::string_view text, bool other_has_comma) {
  std::vector<Reading> readings{Reading{}};
  if (!has_ambiguous_comma(text)) return readings;
  readings.push_back(Reading{.thousands = false});
  if (!other_has_comma && may_be_decimal_comma(text)) {
    const bool below_one = text.starts_with("0,") || text.starts_with("-0,");
    readings.push_back(Reading{.thousands = !below_one, .decimal_comma = true});
  }
  return readings;
}

/// The trees of all readings that can be read.
std::vector<NodeId> parse_readings(const std::string& text, bool other_has_comma, Workspace& workspace) {
  std::vector<NodeId> parsed;
  for (const Reading& reading : readings_of(text, other_has_comma)) {
    try {
      parsed.push_back(parse_answer(text, reading, workspace));
    } catch (const Unreadable&) {
    } catch (const OutOfBudget&) {
    }
  }
  return parsed;
}

/// Letter by letter: without blanks, and without braces where they only group letters ("\text{June 20}").
std::string letters_of(std::string_view text) {
  std::string letters = plain_form(text);
  if (letters.find_first_of("\\^_") == std::string::npos)
    std::erase_if(letters, [](char c) { return c == '{' || c == '}'; });
  return letters;
}

MathVerdict compare_readings(const std::string& gold, const std::string& candidate, const MathLimits& limits) {
  Workspace workspace(limits);
  const std::vector<NodeId> golds = parse_readings(gold, has_comma(candidate), workspace);
  const std::vector<NodeId> candidates = parse_readings(candidate, has_comma(gold), workspace);
  bool different = false;
  for (const NodeId g : golds)
    for (const NodeId c : candidates) {
      try {
        const MathVerdict verdict = Comparison(workspace).compare(g, c);
        if (verdict == MathVerdict::equal) return verdict;
        different = different || verdict == MathVerdict::different;
      } catch (const OutOfBudget&) {
      }
    }
  return different ? MathVerdict::different : MathVerdict::unknown;
}

}  // namespace

MathVerdict compare_math_answers(std::string_view gold, std::string_view candidate, const MathLimits& limits) {
  gold = trim(gold);
  candidate = trim(candidate);
  if (gold.empty() || candidate.empty()) return MathVerdict::unknown;
  if (gold == candidate) return MathVerdict::equal;
  if (gold.size() > limits.max_bytes || candidate.size() > limits.max_bytes) return MathVerdict::unknown;
  const std::string g = unicode_to_latex(strip_wrappers(gold)), c = unicode_to_latex(strip_wrappers(candidate));
  if (const std::string letters = letters_of(g); !letters.empty() && letters == letters_of(c))
    return MathVerdict::equal;
  const auto option_gold = option_letter(g), option_candidate = option_letter(c);
  if (option_gold && option_candidate && (option_gold->marked || option_candidate->marked))
    return option_gold->letter == option_candidate->letter ? MathVerdict::equal : MathVerdict::different;
  const auto words_gold = words_of(g);
  if (words_gold && words_gold == words_of(c)) return MathVerdict::equal;
  return compare_readings(g, c, limits);
}

bool is_readable_math_answer(std::string_view gold, const MathLimits& limits) {
  gold = trim(gold);
  if (gold.empty() || gold.size() > limits.max_bytes) return false;
  const std::string text = unicode_to_latex(strip_wrappers(gold));
  if (option_letter(text) || words_of(text)) return true;
  Workspace workspace(limits);
  return !parse_readings(text, false, workspace).empty();
}

std::optional<bool> is_right_math_answer(std::string_view completion, std::string_view gold, const MathLimits& limits) {
  const std::string wanted = gold_math_answer(gold);
  if (!is_readable_math_answer(wanted, limits)) return std::nullopt;
  const auto answer = extract_math_answer(completion);
  return answer && compare_math_answers(wanted, *answer, limits) == MathVerdict::equal;
}

}  // namespace athanor
