#include "jobs/rl/reward_models.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "jobs/loaded_model.hpp"
#include "src/base/error.hpp"

namespace athanor {

SplitRewards split_rewards(const std::string& rewards) {
  SplitRewards split;
  if (rewards.empty()) return split;
  for (const NamedSpec& spec : parse_named_specs(rewards, "reward")) {
    if (spec.name != "learned") {
      split.rules += (split.rules.empty() ? "" : ", ") + spec.text;
      continue;
    }
    SpecOptions options(spec, "reward");
    LearnedRewardSpec learned;
    learned.stage = options.subject("STAGE");
    learned.name = options.text("name", learned.stage);
    learned.weight = spec.weight;
    learned.scale = options.number("scale", 1.0, 0.0, 1e6);
    learned.most = options.number("most", 0.0, 0.0, 1e6);
    options.finish();
    split.learned.push_back(std::move(learned));
  }
  return split;
}

RewardModels::RewardModels(Environment& env, const JobOptions& options, const Tokenizer& tokenizer, FindCheckpoint find)
    : env_(env), options_(options), tokenizer_(tokenizer), find_(std::move(find)) {}

RewardModels::Loaded& RewardModels::loaded(const std::string& stage) {
  Loaded& entry = models_[stage];
  if (entry.model) return entry;
  const std::filesystem::path checkpoint = find_(stage);
  const JobOptions trained = options_of_checkpoint(checkpoint);
  const RewardModelOptions& own = trained.reward_model;
  ScalarModel::Options rows;
  rows.row_tokens = trained.model.max_positions;
  rows.rows_per_batch = options_.rl.rows_per_batch;
  entry.model = std::make_unique<ScalarModel>(env_, options_, checkpoint, tokenizer_, rows);
  entry.input = std::make_unique<RewardInput>(parse_prompt_template(own.prompt_template),
                                              own.reads_final ? RewardReads::final : RewardReads::whole,
                                              !trained.data.isolate_documents, tokenizer_);
  return entry;
}

void RewardModels::add_scores(const std::vector<LearnedRewardSpec>& rewards, const DrawnProblems& drawn,
                              std::int64_t group_size, ScoredGroups& scored) {
  for (const LearnedRewardSpec& reward : rewards) {
    Loaded& entry = loaded(reward.stage);
    const bool thinks = chat_layout_of(parse_prompt_template(options_.rl.prompt_template)) == ChatLayout::r1;
    std::vector<ScoredSequence> sequences;
    for (std::size_t i = 0; i < drawn.completions.size(); ++i)
      sequences.push_back(
          entry.input->sequence(drawn.problems[i / static_cast<std::size_t>(group_size)], scored.texts[i], thinks));
    const std::vector<double> scores = entry.model->score(sequences);
    for (std::size_t i = 0; i < scores.size(); ++i) {
      double score = scores[i] * reward.scale;
      if (reward.most > 0.0) score = std::clamp(score, -reward.most, reward.most);
      RewardResult& result = scored.results[i];
      result.parts.push_back({.value = score});
      result.total = result.total.value_or(0.0) + reward.weight * score;
    }
  }
}

}  // namespace athanor
