#include "jobs/sampling/decontamination.hpp"

#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "io/dataset/jsonl_reader.hpp"
#include "jobs/rl/benchmark.hpp"
#include "src/base/error.hpp"
#include "src/base/named_spec.hpp"

namespace athanor {
namespace {
using nlohmann::json;

/// Every text in it, however deep.
void add_texts(NgramIndex& index, const json& value) {
  if (value.is_string()) index.add_text(value.get_ref<const std::string&>());
  if (value.is_structured())
    for (const json& part : value) add_texts(index, part);
}

void add_file(NgramIndex& index, const std::string& path) {
  JsonlReader reader(path);
  for (json line;;) {
    try {
      if (!reader.next(line)) return;
    } catch (const ConfigError&) {  // told and counted where the problems are read
      continue;
    }
    add_texts(index, line);
  }
}

std::vector<std::string_view> questions_of(const Problem& problem) {
  std::vector<std::string_view> questions{problem.prompt};
  for (const PromptMessage& message : problem.messages)
    if (message.role == "user" && message.content != problem.prompt) questions.push_back(message.content);
  return questions;
}

}  // namespace

Decontamination::Decontamination(const JobOptions& options, const Tokenizer& tokenizer, bool logs)
    : index_(static_cast<int>(options.sampling.ngram)) {
  if (options.sampling.decontaminate.empty()) return;
  for (const NamedSpec& spec : parse_named_specs(options.sampling.decontaminate, "benchmark")) {
    const ProblemScorer scorer({.tasks = spec.text, .rewards = "", .is_benchmark = true, .logs = logs}, tokenizer);
    const auto in_file = scorer.tasks().num_problems(Split::held_out);
    const std::int64_t generated = options.evaluate.problems > 0 ? options.evaluate.problems : kGeneratedProblems;
    for (std::int64_t i = 0; i < in_file.value_or(generated); ++i) {
      const Problem problem = scorer.problem(options.run.seed, i, Split::held_out);
      for (const std::string_view question : questions_of(problem))
        in_file ? index_.add_question(question) : index_.add_whole_question(question);
    }
    if (in_file) add_file(index_, spec.subject);
  }
  if (logs)
    spdlog::info("decontamination: {} {}-grams and {} whole questions of {}", index_.num_ngrams(),
                 options.sampling.ngram, index_.num_whole_questions(), options.sampling.decontaminate);
}

bool Decontamination::asks(const Problem& problem) const {
  for (const std::string_view question : questions_of(problem))
    if (index_.has_question(question)) return true;
  return false;
}

bool Decontamination::tells(const CompletionParts& parts) const {
  return index_.has_part_of(parts.reasoning) || index_.has_part_of(parts.answer);
}

bool Decontamination::occurs_in(std::span<const ChatMessage> messages) const {
  for (const ChatMessage& message : messages) {
    const bool asks = message.role == "user";
    if (asks ? index_.has_question(message.content) : index_.has_part_of(message.content)) return true;
    if (index_.has_part_of(message.reasoning)) return true;
  }
  return false;
}

}  // namespace athanor
