#include "io/dataset/problem_file.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "io/dataset/bad_lines.hpp"
#include "io/dataset/jsonl_reader.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"
#include "src/reward/answer_extraction.hpp"
#include "src/reward/countdown.hpp"

namespace athanor {
namespace {
using nlohmann::json;

[[noreturn]] void wrong_type(const std::string& place, const std::string& name, const char* wanted, const json& found) {
  throw ConfigError(fmt::format("{}: {}: wanted {}, found {}", place, name, wanted, found.type_name()));
}

/// Null where the field is missing or null.
const json* find(const json& object, const std::string& name) {
  const auto field = object.find(name);
  return field == object.end() || field->is_null() ? nullptr : &*field;
}

std::string text_of(const json& value, const std::string& place, const std::string& name) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number() || value.is_boolean()) return value.dump();
  wrong_type(place, name, "a text", value);
}

std::string text_field(const json& object, const std::string& place, const std::string& name) {
  const json* field = find(object, name);
  return field == nullptr ? "" : text_of(*field, place, name);
}

std::vector<PromptMessage> messages_of(const json& list, const std::string& place, const std::string& name) {
  std::vector<PromptMessage> messages;
  for (const json& item : list) {
    if (!item.is_object()) wrong_type(place, name, "a list of {role, content}", item);
    messages.push_back({text_field(item, place, "role"), text_field(item, place, "content"),
                        text_field(item, place, "reasoning_content")});
  }
  if (messages.empty()) throw ConfigError(fmt::format("{}: {}: a list without messages", place, name));
  return messages;
}

std::int64_t whole_number(const json& value, const std::string& place, const std::string& name) {
  if (!value.is_number_integer()) wrong_type(place, name, "a whole number", value);
  return value.get<std::int64_t>();
}

std::vector<TestCase> tests_of(const json& object, const std::string& place, const std::string& name) {
  std::vector<TestCase> tests;
  const json* list = find(object, name);
  if (list == nullptr) return tests;
  if (!list->is_array()) wrong_type(place, name, "a list of {input, output}", *list);
  for (const json& item : *list) {
    if (!item.is_object()) wrong_type(place, name, "a list of {input, output}", item);
    tests.push_back({text_field(item, place, "input"), text_field(item, place, "output")});
  }
  return tests;
}

/// tests and code_language, or what open-r1's data sets have in their place.
void read_code_fields(Problem& problem, const json& object, const std::string& place) {
  problem.tests = tests_of(object, place, "tests");
  problem.code_language = text_field(object, place, "code_language");
  if (const json* info = find(object, "verification_info")) {
    if (!info->is_object()) wrong_type(place, "verification_info", "{language, test_cases}", *info);
    if (problem.tests.empty()) problem.tests = tests_of(*info, place, "test_cases");
    if (problem.code_language.empty()) problem.code_language = text_field(*info, place, "language");
  }
  const bool names_code = problem.language == "python" || problem.language == "cpp";
  if (problem.code_language.empty() && names_code) problem.code_language = problem.language;
}

/// target and numbers in place of an answer.
std::string countdown_answer(const json& object, const std::string& place) {
  const json* target = find(object, "target");
  const json* numbers = find(object, "numbers");
  if (numbers == nullptr) numbers = find(object, "nums");
  if (target == nullptr || numbers == nullptr) return "";
  if (!numbers->is_array()) wrong_type(place, "numbers", "a list of whole numbers", *numbers);
  CountdownProblem countdown{whole_number(*target, place, "target"), {}};
  for (const json& number : *numbers) countdown.numbers.push_back(whole_number(number, place, "numbers"));
  return countdown_text(countdown);
}

}  // namespace

Problem parse_problem(const json& object, const std::string& place, const ProblemFields& fields) {
  Problem problem;
  if (const json* prompt = find(object, fields.prompt)) {
    if (prompt->is_array()) {
      problem.messages = messages_of(*prompt, place, fields.prompt);
      for (const PromptMessage& message : problem.messages)
        if (message.role == "user") problem.prompt = message.content;
    } else {
      problem.prompt = text_of(*prompt, place, fields.prompt);
    }
  }
  problem.reward_name = text_field(object, place, "reward");
  problem.language = text_field(object, place, "language");
  read_code_fields(problem, object, place);
  problem.answer = text_field(object, place, fields.answer);
  if (problem.answer.empty()) {
    problem.answer = countdown_answer(object, place);
    if (!problem.answer.empty() && problem.reward_name.empty()) problem.reward_name = "countdown";
  }
  if (!fields.answer_mark.empty()) {
    const std::size_t mark = problem.answer.rfind(fields.answer_mark);
    if (mark == std::string::npos)
      throw ConfigError(fmt::format("{}: {}: no '{}' before the answer", place, fields.answer, fields.answer_mark));
    problem.answer = trimmed_text(std::string_view(problem.answer).substr(mark + fields.answer_mark.size()));
  }
  const json* id = find(object, "id");
  if (id != nullptr && id->is_number_integer()) {
    problem.id = whole_number(*id, place, "id");
  } else {
    std::string key = id != nullptr ? text_of(*id, place, "id") : problem.prompt;
    if (id == nullptr)
      for (const PromptMessage& message : problem.messages) key += "\n" + message.role + ": " + message.content;
    problem.id = static_cast<std::int64_t>(stable_hash(key) >> 1);
  }
  return problem;
}

RewardSample parse_reward_sample(const json& object, const std::string& place) {
  const json* completion = find(object, "completion");
  if (completion == nullptr) {
    std::string names;
    for (const auto& item : object.items()) names += (names.empty() ? "" : ", ") + item.key();
    throw ConfigError(fmt::format("{}: no field named completion; there are: {}", place, names));
  }
  const std::string text = completion->is_array() ? messages_of(*completion, place, "completion").front().content
                                                  : text_of(*completion, place, "completion");
  std::int64_t tokens = -1;
  if (const json* count = find(object, "completion_tokens")) {
    tokens = whole_number(*count, place, "completion_tokens");
    if (tokens < 0) throw ConfigError(fmt::format("{}: completion_tokens: {} is below 0", place, tokens));
  }
  return reward_sample(parse_problem(object, place), text, tokens);
}

std::vector<Problem> read_problems(const std::string& path, const ProblemFields& fields, const BadLines& bad_lines) {
  std::vector<Problem> problems;
  std::vector<std::string> bad;
  JsonlReader reader(path);
  for (json object;;) {
    try {
      if (!reader.next(object)) break;
      Problem problem = parse_problem(object, reader.place(), fields);
      std::string refusal = problem.prompt.empty() ? fields.prompt + ": missing or empty" : "";
      if (refusal.empty() && bad_lines.refusal) refusal = bad_lines.refusal(problem);
      if (!refusal.empty()) throw ConfigError(reader.place() + ": " + refusal);
      problems.push_back(std::move(problem));
    } catch (const ConfigError& error) {
      bad.emplace_back(error.what());
    }
  }
  if (problems.empty() && bad.empty()) throw ConfigError(path + ": no problem in it");
  settle_bad_lines(path, problems.size(), bad, bad_lines.max_share, bad_lines.report);
  return problems;
}

}  // namespace athanor
