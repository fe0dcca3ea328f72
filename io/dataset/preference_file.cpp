#include "io/dataset/preference_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "io/dataset/bad_lines.hpp"
#include "io/dataset/jsonl_reader.hpp"
#include "io/dataset/problem_file.hpp"
#include "src/base/error.hpp"
#include "src/reward/answer_extraction.hpp"
#include "src/text/chat_template.hpp"

namespace athanor {
namespace {
using nlohmann::json;

[[noreturn]] void refuse(const std::string& place, const std::string& name, const std::string& wanted,
                         const json& found) {
  throw ConfigError(fmt::format("{}: {}: wanted {}, found {}", place, name, wanted,
                                found.is_structured() ? found.type_name() : found.dump().substr(0, 40)));
}

const json& required(const json& object, const std::string& place, const std::string& name) {
  const auto field = object.find(name);
  if (field == object.end() || field->is_null()) throw ConfigError(fmt::format("{}: no field named {}", place, name));
  return *field;
}

bool has(const json& object, const char* name) {
  const auto field = object.find(name);
  return field != object.end() && !field->is_null();
}

PreferredAnswer answer_of(const json& value, const std::string& place, const std::string& name) {
  ChatMessage message{"assistant", ""};
  const json* said = &value;
  if (value.is_array()) {
    if (value.empty() || !value.back().is_object() || !has(value.back(), "role") ||
        value.back().at("role") != "assistant")
      refuse(place, name, "a list of messages whose last is the assistant's", value);
    if (has(value.back(), "reasoning_content") && value.back().at("reasoning_content").is_string())
      message.reasoning = value.back().at("reasoning_content").get<std::string>();
    said = &required(value.back(), place, "content");
  }
  if (!said->is_string()) refuse(place, name, "a text or a list of messages", *said);
  message.content = said->get<std::string>();
  message = separate_reasoning(std::move(message));
  if (trimmed_text(message.content).empty() && message.reasoning.empty()) refuse(place, name, "an answer", *said);
  return {std::move(message.content), std::move(message.reasoning)};
}

std::vector<double> numbers_of(const json& list, const std::string& place, const std::string& name,
                               std::size_t answers) {
  if (!list.is_array() || list.size() != answers)
    refuse(place, name, fmt::format("a list of {} numbers, one a completion", answers), list);
  std::vector<double> numbers;
  for (const json& item : list) {
    if (!item.is_number()) refuse(place, name, "numbers", item);
    numbers.push_back(item.get<double>());
  }
  return numbers;
}

double label_of(const json& value, const std::string& place) {
  constexpr std::array<const char*, 2> kGood{"safe", "good"}, kBad{"unsafe", "bad"};
  if (value.is_boolean()) return value.get<bool>() ? 1.0 : 0.0;
  if (value.is_number() && (value.get<double>() == 0.0 || value.get<double>() == 1.0)) return value.get<double>();
  if (value.is_string()) {
    const auto is_one_of = [&](const auto& words) {
      return std::any_of(words.begin(), words.end(), [&](const char* word) { return value == word; });
    };
    if (is_one_of(kGood)) return 1.0;
    if (is_one_of(kBad)) return 0.0;
  }
  refuse(place, "label", "1, true, \"safe\", \"good\", or 0, false, \"unsafe\", \"bad\"", value);
}

void read_ranked(Preference& preference, const json& object, const std::string& place) {
  const json& list = required(object, place, "completions");
  if (!list.is_array() || list.size() < 2) refuse(place, "completions", "a list of at least two answers", list);
  for (const json& item : list) preference.answers.push_back(answer_of(item, place, "completions"));
  const bool ranks = has(object, "ranks");
  preference.scores = numbers_of(required(object, place, ranks ? "ranks" : "scores"), place, ranks ? "ranks" : "scores",
                                 preference.answers.size());
  if (ranks)
    for (double& score : preference.scores) score = -score;
  const auto [low, high] = std::minmax_element(preference.scores.begin(), preference.scores.end());
  if (*low == *high) throw ConfigError(fmt::format("{}: all answers are tied: there is nothing to prefer", place));
}

}  // namespace

Preference parse_preference(const json& object, const std::string& place) {
  Preference preference;
  preference.problem = parse_problem(object, place, {.prompt = has(object, "messages") ? "messages" : "prompt"});
  const Problem& problem = preference.problem;
  if (problem.prompt.empty()) throw ConfigError(fmt::format("{}: prompt: missing or empty", place));
  if (!problem.messages.empty() && problem.messages.back().role != "user")
    throw ConfigError(fmt::format("{}: the conversation ends with the turn of '{}', not the user's", place,
                                  problem.messages.back().role));
  if (has(object, "completions")) {
    read_ranked(preference, object, place);
  } else if (has(object, "chosen") || has(object, "rejected")) {
    for (const char* name : {"chosen", "rejected"})
      preference.answers.push_back(answer_of(required(object, place, name), place, name));
    const PreferredAnswer &chosen = preference.answers[0], &rejected = preference.answers[1];
    if (chosen.content == rejected.content && chosen.reasoning == rejected.reasoning)
      throw ConfigError(fmt::format("{}: chosen and rejected are the same answer", place));
    preference.scores = {1.0, 0.0};
  } else if (has(object, "label")) {
    preference.answers.push_back(answer_of(required(object, place, "completion"), place, "completion"));
    preference.labels = {label_of(object.at("label"), place)};
  } else {
    throw ConfigError(fmt::format(
        "{}: wanted chosen and rejected, completions with scores or ranks, or completion and label", place));
  }
  return preference;
}

std::vector<Preference> read_preferences(const std::string& path, const BadPreferences& bad_lines) {
  std::vector<Preference> preferences;
  std::vector<std::string> bad;
  JsonlReader reader(path);
  for (json object;;) {
    try {
      if (!reader.next(object)) break;
      Preference preference = parse_preference(object, reader.place());
      const std::string refusal = bad_lines.refusal ? bad_lines.refusal(preference) : "";
      if (!refusal.empty()) throw ConfigError(reader.place() + ": " + refusal);
      preferences.push_back(std::move(preference));
    } catch (const ConfigError& error) {
      bad.emplace_back(error.what());
    }
  }
  if (preferences.empty() && bad.empty()) throw ConfigError(path + ": no preference in it");
  settle_bad_lines(path, preferences.size(), bad, bad_lines.max_share, bad_lines.report);
  return preferences;
}

}  // namespace athanor
