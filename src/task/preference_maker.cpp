#include "src/task/preference_maker.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "src/base/error.hpp"
#include "src/task/polite_phrases.hpp"
#include "src/task/wording.hpp"
#include "src/text/utf8.hpp"

namespace athanor {
namespace {

constexpr int kJudgements = 4;
constexpr std::int64_t kMostTries = 40;    // problems drawn for each prompt that is kept
constexpr double kToleratedBytes = 200.0;  // by which better answers may be longer in all, while pairs are taken
constexpr std::int64_t kPairsHeldOutOneIn = 8;

/// "helpful(a, b)" as kind and arguments.
std::pair<std::string_view, std::string_view> split_text(std::string_view text) {
  const std::size_t open = text.find('(');
  if (open == std::string_view::npos || !text.ends_with(')'))
    throw ConfigError(fmt::format("preferences '{}': wanted helpful(TASK, ...) or safety(TASK, ...)", text));
  return {text.substr(0, open), text.substr(open + 1, text.size() - open - 2)};
}

/// Arguments that are options ("prompts=10"), or tasks, whose own options stand behind a ':'.
std::vector<std::string_view> arguments_of(std::string_view text, bool options) {
  std::vector<std::string_view> list;
  for (;;) {
    const std::size_t comma = text.find(',');
    const std::string_view argument = text.substr(0, comma);
    if ((argument.find('=') < argument.find(':')) == options) list.push_back(argument);
    if (comma == std::string_view::npos) return list;
    text.remove_prefix(comma + 1);
  }
}

TaskMixture tasks_of(std::string_view text) {
  TaskRegistry registry;
  register_all_tasks(registry);
  std::vector<NamedSpec> specs;
  for (const std::string_view argument : arguments_of(split_text(text).second, false))
    specs.push_back(parse_named_spec(argument, "task"));
  return TaskMixture(specs, registry);
}

PreferenceMakerOptions options_of(std::string_view text) {
  const auto [kind, arguments] = split_text(text);
  PreferenceMakerOptions options;
  if (kind != "helpful" && kind != "safety")
    throw ConfigError(fmt::format("preferences '{}': '{}' is no rule; there are helpful and safety", text, kind));
  options.kind = kind == "helpful" ? PreferenceKind::helpful : PreferenceKind::safety;
  std::string named(kind);
  for (const std::string_view argument : arguments_of(arguments, true)) named += ":" + std::string(argument);
  const NamedSpec spec = parse_named_spec(named, "preferences");
  SpecOptions given(spec, "preferences");
  options.prompts = given.integer("prompts", options.prompts, 1, std::int64_t{1} << 24);
  options.seed = static_cast<std::uint64_t>(given.integer("seed", 1, 0, INT64_MAX));
  if (options.kind == PreferenceKind::helpful) {
    options.answers = given.integer("answers", options.answers, 2, 16);
    options.noise = given.number("noise", options.noise, 0.0, 100.0);
    options.first_favoured = given.number("first_favoured", options.first_favoured, -100.0, 100.0);
    options.rule.right = given.number("right", options.rule.right, -100.0, 100.0);
    options.rule.polite = given.number("polite", options.rule.polite, -100.0, 100.0);
    options.rule.brief = given.number("brief", options.rule.brief, -100.0, 100.0);
    options.rule.brief_length = given.integer("brief_length", options.rule.brief_length, 1, 1 << 20);
  } else {
    options.forbidden = given.text("forbidden", options.forbidden);
    options.bad_share = given.number("bad_share", options.bad_share, 0.0, 1.0);
    if (to_code_points(options.forbidden).size() < 2) given.refuse("wanted a word of at least two characters");
  }
  given.finish();
  return options;
}

template <class English, class Chinese, class Signs>
std::string_view phrase(Wording wording, const English& english, const Chinese& chinese, const Signs& signs,
                        Draw& draw) {
  if (wording == Wording::english) return draw.one_of(english);
  if (wording == Wording::chinese) return draw.one_of(chinese);
  return draw.one_of(signs);
}

/// Phrases one after the other, with blanks between them where the language has any.
std::string joined(Wording wording, const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() || wording == Wording::chinese ? "" : " ") + part;
  return text;
}

std::string answer_sentence(Wording wording, const std::string& answer) {
  return fmt::format(fmt::runtime(in_words(wording, "The answer is {}.", "答案是{}。", "{}")), answer);
}

double normal(Draw& draw) {  // sum of twelve uniforms less six: enough for a judge's mood
  double sum = -6.0;
  for (int i = 0; i < 12; ++i) sum += static_cast<double>(draw.below(1 << 24)) / static_cast<double>(1 << 24);
  return sum;
}

/// Bytes by which better answers are longer than worse ones, over all pairs of the preference.
double length_gap(const Preference& preference) {
  double gap = 0.0;
  for (std::size_t a = 0; a < preference.scores.size(); ++a)
    for (std::size_t b = 0; b < preference.scores.size(); ++b)
      if (preference.scores[a] > preference.scores[b])
        gap += static_cast<double>(preference.answers[a].content.size()) -
               static_cast<double>(preference.answers[b].content.size());
  return gap;
}

/// Other characters of the same kinds: as long as the word, in characters and in bytes.
std::string harmless_word(const std::string& word, Draw& draw) {
  std::string other;
  for (const char32_t character : to_code_points(word)) {
    if (character < 0x80) {
      other += static_cast<char>('a' + draw.below(26));
    } else {  // three bytes of UTF-8, from U+4E00 on
      const auto ideograph = 0x4E00 + draw.below(2000);
      for (const std::int64_t byte :
           {0xE0 | ideograph >> 12, 0x80 | (ideograph >> 6 & 0x3F), 0x80 | (ideograph & 0x3F)})
        other += static_cast<char>(byte);
    }
  }
  return other;
}

std::uint64_t stream_of(std::uint64_t index) { return stable_hash("preferences") + index * 0x9E3779B97F4A7C15U; }

}  // namespace

PreferenceMaker::PreferenceMaker(std::string_view text) : options_(options_of(text)), tasks_(tasks_of(text)) {}

bool PreferenceMaker::makes(std::string_view text) {
  return text.starts_with("helpful(") || text.starts_with("safety(");
}

PreferredAnswer PreferenceMaker::drawn_answer(const Problem& problem, Draw& draw) const {
  const bool right = draw.chance(0.5), polite = draw.chance(0.5), wordy = draw.chance(0.5);
  const Wording wording = wording_of(problem);
  const Solution solution = tasks_.task_of(problem).solution(problem, SolutionStyle::step_by_step, right);
  std::vector<std::string> parts;
  if (wordy) parts.emplace_back(phrase(wording, kWordyEnglish, kWordyChinese, kWordySigns, draw));
  parts.push_back(answer_sentence(wording, solution.answer));
  if (polite) parts.emplace_back(phrase(wording, kPoliteEnglish, kPoliteChinese, kPoliteSigns, draw));
  return {joined(wording, parts), solution.thinking};
}

std::vector<double> PreferenceMaker::judged(const Preference& preference, Draw& draw) const {
  std::vector<double> points;
  for (const PreferredAnswer& answer : preference.answers)
    points.push_back(options_.rule.points(preference.problem, answer.content));
  if (points.size() > 2) {
    for (double& point : points) {
      double sum = 0.0;
      for (int j = 0; j < kJudgements; ++j) sum += point + options_.noise * normal(draw);
      point = std::round(sum / kJudgements);
    }
    const bool tied = std::all_of(points.begin(), points.end(), [&](double p) { return p == points[0]; });
    return tied ? std::vector<double>{} : points;
  }
  double sum = 0.0;
  for (int j = 0; j < kJudgements; ++j) {
    const double favour = draw.chance(0.5) ? options_.first_favoured : -options_.first_favoured;
    const double gap = points[0] - points[1] + favour + options_.noise * normal(draw);
    sum += std::clamp(std::round(gap), -2.0, 2.0);
  }
  const double mean = sum / kJudgements;
  if (std::abs(mean) <= 1.0) return {};
  return {mean > 0.0 ? 1.0 : 0.0, mean > 0.0 ? 0.0 : 1.0};
}

Preference PreferenceMaker::helpful(std::uint64_t index, Split split) const {
  Preference preference{.problem = tasks_.problem(options_.seed, index, split), .answers = {}};
  Draw draw(options_.seed, stream_of(index));
  for (std::int64_t a = 0; a < options_.answers; ++a)
    preference.answers.push_back(drawn_answer(preference.problem, draw));
  preference.scores = judged(preference, draw);
  return preference;
}

Preference PreferenceMaker::safety(std::uint64_t index, Split split) const {
  Preference preference{.problem = tasks_.problem(options_.seed, index, split), .answers = {}};
  Draw draw(options_.seed, stream_of(index));
  const Wording wording = wording_of(preference.problem);
  const bool bad = draw.chance(options_.bad_share), in_reasoning = draw.chance(0.5);
  std::string word = options_.forbidden;
  while (!bad && !is_free_of(word, options_.forbidden)) word = harmless_word(options_.forbidden, draw);
  const Solution solution =
      tasks_.task_of(preference.problem).solution(preference.problem, SolutionStyle::step_by_step, draw.chance(0.5));
  PreferredAnswer answer{answer_sentence(wording, solution.answer), solution.thinking};
  std::string& place = in_reasoning && !answer.reasoning.empty() ? answer.reasoning : answer.content;
  place = draw.chance(0.5) ? word + " " + place : place + " " + word;
  // What happens to stand in the answer itself counts as well.
  const bool clean = is_free_of(answer.reasoning + "\n" + answer.content, options_.forbidden);
  preference.answers.push_back(std::move(answer));
  preference.labels.push_back(clean ? 1.0 : 0.0);
  return preference;
}

std::vector<Preference> PreferenceMaker::make(Split split) const {
  const std::int64_t wanted =
      split == Split::train ? options_.prompts : std::max<std::int64_t>(1, options_.prompts / kPairsHeldOutOneIn);
  std::vector<Preference> list;
  double gap = 0.0;
  for (std::int64_t index = 0; std::ssize(list) < wanted && index < kMostTries * wanted; ++index) {
    if (options_.kind == PreferenceKind::safety) {
      list.push_back(safety(static_cast<std::uint64_t>(index), split));
      continue;
    }
    Preference preference = helpful(static_cast<std::uint64_t>(index), split);
    if (preference.scores.empty()) continue;
    const double with = gap + length_gap(preference);
    if (std::abs(with) > kToleratedBytes && std::abs(with) > std::abs(gap)) continue;
    gap = with;
    list.push_back(std::move(preference));
  }
  if (std::ssize(list) < wanted)
    throw ConfigError(fmt::format(
        "preferences: {} of {} prompts have answers that the judges tell apart and that keep better and worse ones "
        "equally long; let length say less: raise brief_length or lower brief=, or lower noise=",
        list.size(), wanted));
  return list;
}

}  // namespace athanor
