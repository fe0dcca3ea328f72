#include "jobs/rl/preference_data.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "io/dataset/preference_file.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"
#include "src/task/preference_maker.hpp"
#include "src/task/task.hpp"

namespace athanor {
namespace {

constexpr std::int64_t kMostReports = 20;

class Reader {
 public:
  Reader(const JobOptions& options, const Tokenizer& tokenizer, bool logs)
      : options_(options.reward_model),
        row_tokens_(options_.row_tokens > 0 ? options_.row_tokens : options.data.sequence_length),
        input_(parse_prompt_template(options_.prompt_template),
               options_.reads_final ? RewardReads::final : RewardReads::whole, !options.data.isolate_documents,
               tokenizer),
        logs_(logs) {}

  std::vector<Preference> read(const std::string& source, Split split) {
    if (PreferenceMaker::makes(source)) {
      std::vector<Preference> made = PreferenceMaker(source).make(split);
      for (const Preference& preference : made)
        if (const std::string reason = refusal(preference); !reason.empty())
          throw ConfigError(fmt::format("reward_model.data = {}: {}", source, reason));
      return made;
    }
    std::vector<Preference> list =
        read_preferences(source, {.max_share = options_.max_bad,
                                  .refusal = [this](const Preference& preference) { return refusal(preference); },
                                  .report = [this](const std::string& message) { report(message); }});
    return list;
  }

  /// Why the stage cannot use a preference; empty: it can.
  std::string refusal(const Preference& preference) const {
    if (options_.pointwise && preference.labels.empty())
      return "it compares answers, and reward_model.loss = pointwise wants labels";
    if (!options_.pointwise && preference.scores.empty())
      return "it labels an answer, and reward_model.loss = pairwise wants answers that are compared";
    for (const auto& sequence : group_of(preference).sequences)
      if (std::ssize(sequence) > row_tokens_)
        return fmt::format("the prompt with an answer has {} tokens, a row {}", sequence.size(), row_tokens_);
    return "";
  }

  AnswerGroup group_of(const Preference& preference) const {
    AnswerGroup group{.sequences = {}, .scores = preference.scores, .labels = preference.labels};
    for (const PreferredAnswer& answer : preference.answers) {
      ScoredSequence sequence = input_.sequence(preference.problem, answer);
      sequence.prompt.insert(sequence.prompt.end(), sequence.completion.begin(), sequence.completion.end());
      group.sequences.push_back(std::move(sequence.prompt));
    }
    return group;
  }

  void report(const std::string& message) {
    if (++left_out_ <= kMostReports && logs_) spdlog::info("left out: {}", message);
  }
  std::int64_t left_out() const { return left_out_; }

 private:
  const RewardModelOptions& options_;
  std::int64_t row_tokens_;
  RewardInput input_;
  bool logs_;
  std::int64_t left_out_ = 0;
};

std::uint64_t hash_of(std::uint64_t hash, const AnswerGroup& group) {
  const auto add = [&](std::uint64_t number) { hash = (hash ^ number) * 0x100000001b3U; };
  for (const auto& sequence : group.sequences) {
    add(sequence.size());
    for (const std::int32_t token : sequence) add(static_cast<std::uint64_t>(token));
  }
  for (const auto* numbers : {&group.scores, &group.labels})
    for (const double number : *numbers) add(stable_hash(fmt::format("{:a}", number)));
  return hash;
}

}  // namespace

PreferenceData read_preference_data(const JobOptions& options, const Tokenizer& tokenizer, bool logs) {
  const RewardModelOptions& own = options.reward_model;
  if (own.data.empty())
    throw ConfigError(
        "reward_model.data is empty: nothing to learn from; give FILE.jsonl, helpful(TASK, ...) or safety(TASK, ...)");
  Reader reader(options, tokenizer, logs);
  std::vector<Preference> train = reader.read(own.data, Split::train), held_out;
  if (!own.held_out.empty()) {
    held_out = reader.read(own.held_out, Split::held_out);
  } else if (PreferenceMaker::makes(own.data)) {
    held_out = reader.read(own.data, Split::held_out);
  } else {
    // A hash of the prompt decides, so that a prompt that comes twice is on one side.
    std::vector<Preference> kept;
    for (Preference& preference : train) {
      const double place = Philox(1, RandomPurpose::data_order, form_hash(preference.problem.prompt)).uniform(0);
      (place < own.held_out_fraction ? held_out : kept).push_back(std::move(preference));
    }
    train = std::move(kept);
  }
  if (train.empty() || held_out.empty())
    throw ConfigError(
        fmt::format("reward_model.data = {}: {} prompts to learn from and {} held out; wanted some of each: change "
                    "reward_model.held_out_fraction, or give reward_model.held_out",
                    own.data, train.size(), held_out.size()));
  PreferenceData data;
  data.lengths = answer_lengths(train, !own.reads_final);
  data.left_out = reader.left_out();
  if (logs && data.left_out > kMostReports) spdlog::info("left out: {} more", data.left_out - kMostReports);
  data.fingerprint = 0xcbf29ce484222325U;
  const auto take = [&](const std::vector<Preference>& from, std::vector<AnswerGroup>& to) {
    for (const Preference& preference : from) {
      to.push_back(reader.group_of(preference));
      data.fingerprint = hash_of(data.fingerprint, to.back());
    }
  };
  take(train, data.train);
  take(held_out, data.held_out);
  return data;
}

}  // namespace athanor
