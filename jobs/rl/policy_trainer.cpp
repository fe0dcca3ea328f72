#include "jobs/rl/policy_trainer.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <sstream>

#include "jobs/rl/row_tokens.hpp"
#include "jobs/rollout_room.hpp"
#include "jobs/stop_signal.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"
#include "src/base/stopwatch.hpp"

namespace athanor {
namespace {

/// Before anything takes memory. @returns the options as they are.
const JobOptions& checked(const JobOptions& options, ProcessMesh& mesh) {
  const RlOptions& rl = options.rl;
  const bool has_critic = objective_of(rl.objective).critic;
  if (objective_of(rl.objective).policy == PolicyObjective::gspo && mesh.size(Axis::cp) > 1)
    throw ConfigError(
        fmt::format("rl.objective = {}: its ratio is of whole completions, which parallel.cp = {} cuts; "
                    "give the ranks to parallel.dp or parallel.tp",
                    rl.objective, mesh.size(Axis::cp)));
  if (rl.prompts_per_rollout % mesh.size(Axis::dp) != 0)
    throw ConfigError(fmt::format("rl.prompts_per_rollout = {} does not divide over parallel.dp = {}",
                                  rl.prompts_per_rollout, mesh.size(Axis::dp)));
  if (rl.group_size < 2 && !has_critic)
    throw ConfigError(
        "rl.group_size = 1: an advantage needs at least 2 completions of a prompt, or rl.objective = ppo");
  if (rl.prompts_per_rollout / mesh.size(Axis::dp) * rl.group_size < rl.updates_per_rollout)
    throw ConfigError(
        fmt::format("rl.updates_per_rollout = {} is more than the completions of a rank", rl.updates_per_rollout));
  return options;
}

}  // namespace

PolicyTrainer::PolicyTrainer(Environment& env, const JobOptions& options, const Tokenizer& tokenizer,
                             std::unique_ptr<PretrainingMix> mix, FindCheckpoint find_checkpoint)
    : env_(env),
      options_(checked(options, *env.mesh)),
      sets_(prompt_sets(options.rl)),
      reward_models_(env, options_, tokenizer, std::move(find_checkpoint)),
      length_stages_(options.rl.length_stages, options.rl.max_new_tokens),
      lr_schedule_(options.optimizer.lr, options.run.steps),
      trained_(env, options),
      mix_(std::move(mix)) {
  const RlOptions& rl = options.rl;
  const Objective objective = objective_of(rl.objective);
  make_kinds(tokenizer);
  if (rl.kl_beta != 0.0) reference_ = std::make_unique<ReferencePolicy>(env, options);
  if (objective.critic) critic_ = std::make_unique<Critic>(env, options);
  credit_ = std::make_unique<Credit>(options_, *env.mesh, reference_.get(), critic_.get());
  const std::int64_t row_tokens = row_tokens_of(options);
  engine_ = std::make_unique<RolloutEngine>(*env.ops, *trained_.model, *env.mesh,
                                            rollout_room(options, rl.slots, row_tokens + 1), &tokenizer, *env.compute);
  ExperienceBatcher::Options batching;
  batching.rows = {.row_tokens = row_tokens,
                   .rows_per_batch = rl.rows_per_batch,
                   .acc = accumulation_dtype(options.run.dtype),
                   .tp_size = env.mesh->size(Axis::tp),
                   .cp_rank = env.mesh->coord(Axis::cp),
                   .cp_size = env.mesh->size(Axis::cp)};
  batching.max_new_tokens = rl.max_new_tokens;
  batching.temperature = rl.sampler.temperature;
  batching.weights = objective.weights;
  batching.objective = {objective.policy, rl.clip_low, rl.clip_high, rl.ratio_bound,
                        rl.kl_in == KlIn::loss ? rl.kl_beta : 0.0};
  batcher_ = std::make_unique<ExperienceBatcher>(*env.ops, batching);
}

void PolicyTrainer::make_kinds(const Tokenizer& tokenizer) {
  for (const PromptSetSpec& set : sets_) {
    kinds_.emplace_back(options_, set, tokenizer, reward_models_);
    rewards_of_kind_.emplace_back();
    for (const std::string& name : kinds_.back().reward_names()) {
      const auto found = std::find(reward_names_.begin(), reward_names_.end(), name);
      rewards_of_kind_.back().push_back(static_cast<std::size_t>(found - reward_names_.begin()));
      if (found == reward_names_.end()) reward_names_.push_back(name);
    }
  }
  env_.mesh->host(Axis::world).check_same("the problems of rl.tasks", problems_fingerprint());
}

std::uint64_t PolicyTrainer::problems_fingerprint() const {
  if (kinds_.size() == 1) return kinds_.front().scorer().tasks().fingerprint();
  std::string all;
  for (const PromptKind& kind : kinds_) all += std::to_string(kind.scorer().tasks().fingerprint()) + " ";
  return stable_hash(all);
}

// ---- weights and state

std::vector<NamedShard> PolicyTrainer::shards() const {
  auto shards = trained_.step->shards();
  if (reference_)
    for (NamedShard& shard : reference_->shards()) shards.push_back(std::move(shard));
  if (critic_)
    for (NamedShard& shard : critic_->shards()) shards.push_back(std::move(shard));
  return shards;
}

void PolicyTrainer::start_from_weights() {
  trained_.step->start();
  if (reference_) reference_->copy_from(*trained_.model, *trained_.store);
  if (critic_) critic_->start_from_weights();
  steps_done_ = rollouts_done_ = update_of_rollout_ = 0;
  for (PromptKind& kind : kinds_) kind.go_to(0);
}

std::map<std::string, std::string> PolicyTrainer::values() const {
  std::vector<std::int64_t> next;
  for (const PromptKind& kind : kinds_) next.push_back(kind.next_problem());
  std::map<std::string, std::string> values{{"rl.next_problem", fmt::format("{}", fmt::join(next, " "))},
                                            {"rl.problems", std::to_string(problems_fingerprint())},
                                            {"rl.rollouts", std::to_string(rollouts_done_)},
                                            {"rl.kl_beta", credit_->state()},
                                            {"optimizer.state", trained_.step->state()}};
  if (critic_) values["critic.state"] = critic_->state();
  if (mix_) values["rl.text"] = std::to_string(mix_->fingerprint());
  return values;
}

void PolicyTrainer::restore(std::int64_t steps, const std::map<std::string, std::string>& values) {
  const auto value = [&](const std::string& name) { return saved_value(values, name, "such an rl stage"); };
  if (value("rl.problems") != std::to_string(problems_fingerprint()))
    throw ConfigError(
        "rl.tasks: the files of problems are not those this run began with; put them back, or start over");
  if (mix_ && value("rl.text") != std::to_string(mix_->fingerprint()))
    throw ConfigError(
        "data.train: the text beside the updates is not what this run began with; put it back, or start over");
  trained_.step->after_load();
  trained_.step->restore(value("optimizer.state"));
  if (critic_) critic_->restore(value("critic.state"));
  credit_->restore(value("rl.kl_beta"));
  std::istringstream next(value("rl.next_problem"));
  for (PromptKind& kind : kinds_) {
    std::int64_t number = 0;
    next >> number;
    kind.go_to(number);
  }
  steps_done_ = steps;
  rollouts_done_ = std::stoll(value("rl.rollouts"));
  update_of_rollout_ = 0;
}

// ---- rollouts

RolloutOptions PolicyTrainer::sampling(std::int64_t group_size, std::uint64_t seed) const {
  const RlOptions& rl = options_.rl;
  RolloutOptions sampling;
  sampling.sampling = rl.sampler;
  sampling.max_new_tokens = length_stages_.tokens_after(steps_done_);
  sampling.group_size = group_size;
  sampling.seed = seed;
  return sampling;
}

void PolicyTrainer::keep_sample(const DrawnProblems& drawn, const ScoredGroups& scored, std::size_t i,
                                double advantage) {
  if (std::ssize(samples_) >= options_.rl.samples_per_rollout) return;
  const std::size_t problem = i / static_cast<std::size_t>(options_.rl.group_size);
  samples_.push_back({drawn.prompts[problem].id, drawn.problems[problem].prompt, scored.texts[i],
                      drawn.problems[problem].answer, scored.results[i].total.value_or(0.0), advantage});
}

std::vector<Experience> PolicyTrainer::teach(std::size_t kind, const DrawnProblems& drawn, const ScoredGroups& scored,
                                             RolloutTally& tally) {
  const RlOptions& rl = options_.rl;
  const auto group = static_cast<std::size_t>(rl.group_size);
  std::vector<std::optional<double>> totals;
  std::vector<Experience> experiences;
  for (std::size_t i = 0; i < drawn.completions.size(); ++i) {
    const Completion& completion = drawn.completions[i];
    tally.add(drawn, scored, i, rewards_of_kind_[kind]);
    totals.push_back(scored.results[i].total);
    Experience& experience = experiences.emplace_back();
    experience.prompt = drawn.prompts[i / group].tokens;
    experience.completion = completion.tokens;
    experience.logprobs = completion.logprobs;
    experience.masked = !totals[i] || (rl.mask_truncated && completion.end == Completion::End::length);
  }
  const std::vector<bool> flat = credit_->assign(experiences, std::move(totals), *batcher_, tally);
  std::vector<Experience> kept;
  for (std::size_t i = 0; i < experiences.size(); ++i) {
    keep_sample(drawn, scored, i, experiences[i].advantage);
    // Groups without spread teach nothing: where others may take their place, they go.
    if (rl.dynamic_sampling == 0 || !flat[i / group]) kept.push_back(std::move(experiences[i]));
  }
  return kept;
}

void PolicyTrainer::roll_out(std::size_t kind, std::int64_t count, RolloutTally& tally) {
  const RlOptions& rl = options_.rl;
  ProcessMesh& mesh = *env_.mesh;
  const std::int64_t ranks = mesh.size(Axis::dp);
  // Problems of every kind are numbered from 0: each kind has random numbers of its own, the first those of the run.
  const std::uint64_t seed =
      kind == 0 ? options_.run.seed : options_.run.seed + stable_hash("kind " + std::to_string(kind));
  std::int64_t wanted = count, taught = 0;
  for (std::int64_t round = 0; round <= rl.dynamic_sampling && wanted > 0; ++round) {
    const DrawnProblems drawn =
        kinds_[kind].complete_next(wanted, options_.run.seed, mesh, *engine_, sampling(rl.group_size, seed));
    tally.add_tokens(drawn.tokens_generated);
    const ScoredGroups scored = kinds_[kind].score(drawn, rl.group_size, mesh);
    for (Experience& experience : teach(kind, drawn, scored, tally)) {
      experiences_.push_back(std::move(experience));
      ++taught;
    }
    // As many further prompts on every rank as the emptiest wants.
    const std::int64_t missing = count / ranks - taught / rl.group_size;
    wanted = mesh.host(Axis::world).max(std::max<std::int64_t>(0, missing)) * ranks;
  }
}

RolloutStatistics PolicyTrainer::rollout() {
  const auto begin = Clock::now();
  experiences_.clear();
  samples_.clear();
  update_of_rollout_ = 0;
  RolloutTally tally(reward_names_.size());
  const double done = static_cast<double>(steps_done_) / static_cast<double>(options_.run.steps);
  const auto counts = share_prompts(sets_, options_.rl.prompts_per_rollout, env_.mesh->size(Axis::dp), done);
  for (std::size_t kind = 0; kind < kinds_.size(); ++kind)
    if (counts[kind] > 0) roll_out(kind, counts[kind], tally);
  credit_->whiten(experiences_);
  if (reference_ && options_.rl.kl_in == KlIn::loss) reference_->score(experiences_, *batcher_);
  // Updates of one rollout take their part of a shuffled order, the same for any rank that holds the same samples.
  std::int64_t drawn = 0;
  for (const PromptKind& kind : kinds_) drawn += kind.next_problem();
  const Philox random(options_.run.seed, RandomPurpose::data_order, static_cast<std::uint64_t>(drawn));
  std::vector<Experience> shuffled(experiences_.size());
  for (std::size_t i = 0; i < experiences_.size(); ++i)
    shuffled[permuted_index(random, experiences_.size(), i)] = std::move(experiences_[i]);
  experiences_ = std::move(shuffled);
  ++rollouts_done_;
  const RolloutStatistics statistics =
      tally.statistics(env_.mesh->host(Axis::world), counts_problems(*env_.mesh), seconds_since(begin));
  credit_->adapt(statistics);
  return statistics;
}

// ---- updates

UpdateResult PolicyTrainer::update() {
  const RlOptions& rl = options_.rl;
  const auto all = static_cast<std::int64_t>(experiences_.size());
  std::vector<const Experience*> batch;
  for (std::int64_t i = all * update_of_rollout_ / rl.updates_per_rollout;
       i < all * (update_of_rollout_ + 1) / rl.updates_per_rollout; ++i)
    batch.push_back(&experiences_[static_cast<std::size_t>(i)]);
  ++update_of_rollout_;
  const BatchTotals own = count(batch);
  const bool counts = counts_problems(*env_.mesh);
  std::int64_t sums[2] = {counts ? own.samples : 0, counts ? own.tokens : 0};
  HostGroup& world = env_.mesh->host(Axis::world);
  world.sum(std::span(sums));
  const BatchTotals totals{sums[0], sums[1]};
  const std::int64_t micro_batches = std::max<std::int64_t>(1, world.max(batcher_->micro_batches(batch)));
  UpdateResult result;
  if (critic_)
    result.critic = critic_->update(batcher_->build_values(batch, totals, micro_batches, rl.value_clip, *env_.compute),
                                    steps_done_ + 1);
  auto built = batcher_->build(batch, totals, micro_batches, *env_.compute);
  if (mix_)
    for (MicroBatch& rows : mix_->rows_of(steps_done_)) built.push_back(std::move(rows));
  StepPlan plan;
  plan.step = steps_done_ + 1;
  plan.lr = lr_ = lr_schedule_.rate(plan.step, steps_done_);
  if (rollouts_done_ <= rl.critic_warmup) plan.lr = lr_ = 0.0;
  plan.bias_speed = 0.0;  // the router stays as pre-training balanced it
  // A later update, or one whose critic has moved, is ended: what came before it would have to be taken back.
  const bool first = !critic_ && update_of_rollout_ == 1;
  result.policy = trained_.step->run(plan, built, first ? StopSignal::asked : nullptr);
  if (mix_) result.ptx_loss = result.policy.token_loss / rl.ptx_weight;
  ++steps_done_;
  if (const std::int64_t every = rl.reference_refresh; reference_ && every > 0 && steps_done_ % every == 0)
    reference_->copy_from(*trained_.model, *trained_.store);
  return result;
}

}  // namespace athanor
