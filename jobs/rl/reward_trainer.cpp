#include "jobs/rl/reward_trainer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "jobs/rl/drawn_problems.hpp"
#include "jobs/rl/learned_reward.hpp"
#include "jobs/stop_signal.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"

namespace athanor {
namespace {

JobOptions with_scalar_model(JobOptions options) {
  options.model = with_scalar_head(options.model);
  return options;
}

std::int64_t position_after(const JobOptions& options, std::int64_t prompts, std::int64_t steps) {
  const auto total =
      static_cast<std::int64_t>(std::llround(options.reward_model.epochs * static_cast<double>(prompts)));
  return std::min(std::max<std::int64_t>(1, total), steps * options.reward_model.prompts_per_batch);
}

std::int64_t steps_of(const JobOptions& options, std::int64_t prompts) {
  const std::int64_t total = position_after(options, prompts, INT64_MAX / options.reward_model.prompts_per_batch);
  return (total + options.reward_model.prompts_per_batch - 1) / options.reward_model.prompts_per_batch;
}

double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

/// Sums of PreferenceQuality over groups: loss, right, good score, good count, bad score, bad count, count, divisor.
struct QualitySums {
  std::array<double, 8> sums{};

  void add(const AnswerGroup& group, const std::vector<double>& scores, double margin) {
    for (std::size_t a = 0; a < group.labels.size(); ++a) {
      const bool good = group.labels[a] > 0.5;
      add_one(softplus(scores[a]) - group.labels[a] * scores[a], 1.0, (scores[a] > 0.0) == good);
      add_score(scores[a], good);
      sums[7] += 1.0;
    }
    const auto answers = static_cast<double>(group.scores.size());
    bool has_pair = false;
    for (std::size_t a = 0; a < group.scores.size(); ++a)
      for (std::size_t b = 0; b < group.scores.size(); ++b) {
        const double gap = group.scores[a] - group.scores[b];
        if (gap <= 0.0) continue;
        add_one(softplus(scores[b] - scores[a] + margin * gap), 2.0 / (answers * (answers - 1.0)),
                scores[a] > scores[b]);
        add_score(scores[a], true);
        add_score(scores[b], false);
        has_pair = true;
      }
    if (has_pair) sums[7] += 1.0;
  }
  PreferenceQuality quality() const {
    const auto over = [](double sum, double count) { return count > 0.0 ? sum / count : 0.0; };
    return {.loss = over(sums[0], sums[7]),
            .accuracy = over(sums[1], sums[6]),
            .good_score = over(sums[2], sums[3]),
            .bad_score = over(sums[4], sums[5]),
            .count = std::llround(sums[6])};
  }

 private:
  void add_one(double loss, double weight, bool right) {
    sums[0] += weight * loss;
    sums[1] += right ? 1.0 : 0.0;
    sums[6] += 1.0;
  }
  void add_score(double score, bool good) {
    sums[good ? 2 : 4] += score;
    sums[good ? 3 : 5] += 1.0;
  }
};

}  // namespace

RewardTrainer::RewardTrainer(Environment& env, const JobOptions& options, std::vector<AnswerGroup> data)
    : env_(env),
      options_(with_scalar_model(options)),
      data_(std::move(data)),
      total_steps_(steps_of(options_, std::ssize(data_))),
      lr_schedule_(options.optimizer.lr, total_steps_),
      trained_(env, options_) {
  const RewardModelOptions& own = options_.reward_model;
  AnswerBatcher::Options batching;
  batching.rows = {.row_tokens = own.row_tokens > 0 ? own.row_tokens : options_.data.sequence_length,
                   .rows_per_batch = own.rows_per_batch,
                   .acc = accumulation_dtype(options_.run.dtype),
                   .tp_size = env.mesh->size(Axis::tp)};
  batching.centering = own.centering;
  batching.margin = own.margin;
  if (batching.rows.row_tokens > options_.model.max_positions)
    throw ConfigError(
        fmt::format("reward_model.row_tokens = {} exceeds model.max_positions = {}; shorten the one or raise the other",
                    batching.rows.row_tokens, options_.model.max_positions));
  batcher_ = std::make_unique<AnswerBatcher>(*env.ops, batching);
}

// ---- weights and state

void RewardTrainer::start_from_weights() {
  trained_.step->start();
  steps_done_ = 0;
}

std::map<std::string, std::string> RewardTrainer::values(std::uint64_t fingerprint) const {
  return {{"reward_model.data", fmt::format("{:016x}", fingerprint)}, {"optimizer.state", trained_.step->state()}};
}

void RewardTrainer::restore(std::int64_t steps, const std::map<std::string, std::string>& values,
                            std::uint64_t fingerprint) {
  const auto value = [&](const std::string& name) { return saved_value(values, name, "a reward_model stage"); };
  if (value("reward_model.data") != fmt::format("{:016x}", fingerprint))
    throw ConfigError(
        "reward_model.data: the preferences are not those this run began with; put them back, or start over");
  trained_.step->after_load();
  trained_.step->restore(value("optimizer.state"));
  steps_done_ = steps;
}

// ---- steps

std::vector<AnswerGroup> RewardTrainer::own_share(std::span<const AnswerGroup> groups) const {
  const auto ranks = static_cast<std::size_t>(env_.mesh->size(Axis::dp)),
             rank = static_cast<std::size_t>(env_.mesh->coord(Axis::dp));
  return {groups.begin() + static_cast<std::ptrdiff_t>(groups.size() * rank / ranks),
          groups.begin() + static_cast<std::ptrdiff_t>(groups.size() * (rank + 1) / ranks)};
}

std::int64_t RewardTrainer::prompts_seen() const { return position_after(options_, std::ssize(data_), steps_done_); }

StepResult RewardTrainer::step() {
  const std::int64_t prompts = std::ssize(data_), begin = steps_done_ * options_.reward_model.prompts_per_batch,
                     end = position_after(options_, prompts, steps_done_ + 1);
  std::vector<AnswerGroup> batch;
  for (std::int64_t at = begin; at < end; ++at) {
    const Philox order(options_.run.seed, RandomPurpose::data_order, static_cast<std::uint64_t>(at / prompts));
    batch.push_back(
        data_[permuted_index(order, static_cast<std::uint64_t>(prompts), static_cast<std::uint64_t>(at % prompts))]);
  }
  const std::vector<AnswerGroup> own = own_share(batch);
  const std::int64_t micro_batches =
      std::max<std::int64_t>(1, env_.mesh->host(Axis::world).max(batcher_->micro_batches(own)));
  const auto built = batcher_->build(own, count(batch), micro_batches, *env_.compute);
  StepPlan plan;
  plan.step = steps_done_ + 1;
  plan.lr = lr_ = lr_schedule_.rate(plan.step, steps_done_);
  const StepResult result = trained_.step->run(plan, built, StopSignal::asked);
  ++steps_done_;
  return result;
}

// ---- measuring

std::vector<std::vector<double>> RewardTrainer::scores(std::span<const AnswerGroup> groups) {
  std::vector<std::vector<std::int32_t>> sequences;
  for (const AnswerGroup& group : groups)
    sequences.insert(sequences.end(), group.sequences.begin(), group.sequences.end());
  const auto values = sequence_values(env_, *trained_.model, *batcher_, sequences);
  std::vector<std::vector<double>> scores;
  std::size_t next = 0;
  for (const AnswerGroup& group : groups) {
    auto& of = scores.emplace_back();
    for (std::size_t a = 0; a < group.sequences.size(); ++a) of.push_back(values[next++].back());
  }
  return scores;
}

PreferenceQuality RewardTrainer::measure(std::span<const AnswerGroup> groups) {
  const std::vector<AnswerGroup> own = own_share(groups);
  const auto found = scores(own);
  QualitySums sums;
  for (std::size_t g = 0; g < own.size(); ++g) sums.add(own[g], found[g], options_.reward_model.margin);
  if (!counts_problems(*env_.mesh)) sums.sums.fill(0.0);
  env_.mesh->host(Axis::world).sum(std::span(sums.sums));
  return sums.quality();
}

double RewardTrainer::centre_bias(std::size_t most) {
  const std::vector<AnswerGroup> own = own_share(std::span(data_).first(std::min(most, data_.size())));
  const auto found = scores(own);
  std::array<double, 2> sums{};
  for (std::size_t g = 0; g < own.size(); ++g) {
    const auto best = std::max_element(own[g].scores.begin(), own[g].scores.end()) - own[g].scores.begin();
    sums[0] += found[g][static_cast<std::size_t>(best)];
    sums[1] += 1.0;
  }
  if (!counts_problems(*env_.mesh)) sums.fill(0.0);
  env_.mesh->host(Axis::world).sum(std::span(sums));
  const double mean = sums[0] / std::max(1.0, sums[1]);
  for (Parameter* parameter : trained_.store->parameters()) {
    if (parameter->name() != "value_head.bias") continue;
    // In the accumulation type: the weight is its own master.
    const Tensor shift = env_.ops->empty(parameter->weight.shape(), parameter->weight.dtype());
    env_.ops->fill(shift, -mean, *env_.compute);
    env_.ops->add(parameter->weight, parameter->weight, shift, *env_.compute);
  }
  return mean;
}

}  // namespace athanor
