#include "jobs/rl/policy_trainer.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "jobs/rl/objectives.hpp"
#include "jobs/trained_model.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"
#include "src/base/stopwatch.hpp"

namespace athanor {
namespace {

std::int64_t row_tokens_of(const JobOptions& options) {
  return options.rl.row_tokens > 0 ? options.rl.row_tokens : options.data.sequence_length;
}

/// Before anything takes memory. @returns the options as they are.
const JobOptions& checked(const JobOptions& options, ProcessMesh& mesh) {
  const RlOptions& rl = options.rl;
  if (mesh.size(Axis::cp) > 1)
    throw ConfigError("rl: parallel.cp = " + std::to_string(mesh.size(Axis::cp)) +
                      ": completions are packed whole; give the ranks to parallel.dp or parallel.tp");
  if (rl.prompts_per_rollout % mesh.size(Axis::dp) != 0)
    throw ConfigError(fmt::format("rl.prompts_per_rollout = {} does not divide over parallel.dp = {}",
                                  rl.prompts_per_rollout, mesh.size(Axis::dp)));
  if (rl.group_size < 2) throw ConfigError("rl.group_size = 1: an advantage needs at least 2 completions of a prompt");
  if (rl.prompts_per_rollout / mesh.size(Axis::dp) * rl.group_size < rl.updates_per_rollout)
    throw ConfigError(
        fmt::format("rl.updates_per_rollout = {} is more than the completions of a rank", rl.updates_per_rollout));
  return options;
}

/// Sum over the completion of log p - log p of the reference: k1, what a sample says of the divergence.
double log_ratio(const Experience& experience) {
  double sum = 0.0;
  for (std::size_t t = 0; t < experience.logprobs.size(); ++t)
    sum += experience.logprobs[t] - experience.ref_logprobs[t];
  return sum;
}

}  // namespace

ProblemScorerOptions rl_scorer_options(const JobOptions& options) {
  const RlOptions& rl = options.rl;
  const std::int64_t left = row_tokens_of(options) + 1 - rl.max_new_tokens;
  if (left < 1)
    throw ConfigError(fmt::format(
        "rl.max_new_tokens = {} leaves no room for a prompt in rows of {} tokens; lower it, or raise rl.row_tokens",
        rl.max_new_tokens, row_tokens_of(options)));
  return {.tasks = rl.tasks,
          .rewards = rl.rewards,
          .program_limits = rl.rewards,
          .prompt_template = rl.prompt_template,
          .behind_eos = !options.data.isolate_documents,
          .max_prompt_tokens = left};
}

PolicyTrainer::PolicyTrainer(Environment& env, const JobOptions& options, const Tokenizer& tokenizer)
    : env_(env),
      options_(options),
      scorer_(rl_scorer_options(options), tokenizer),
      kl_in_reward_(options.rl.kl_in_reward && options.rl.kl_beta != 0.0),
      length_stages_(options.rl.length_stages, options.rl.max_new_tokens),
      lr_schedule_(options.optimizer.lr, options.run.steps),
      trained_(env, checked(options, *env.mesh)) {
  const RlOptions& rl = options.rl;
  ProcessMesh& mesh = *env.mesh;
  mesh.host(Axis::world).check_same("the problems of rl.tasks", scorer_.tasks().fingerprint());
  const Objective objective = objective_of(rl.objective);
  advantage_ = objective.advantage;
  whitens_ = objective.whitens;
  if (rl.kl_beta != 0.0) reference_ = std::make_unique<ReferencePolicy>(env, options);
  const std::int64_t row_tokens = row_tokens_of(options);
  engine_ = std::make_unique<RolloutEngine>(*env.ops, *trained_.model, mesh, rl.slots, row_tokens + 1,
                                            cache_form(options.run.numerics), &tokenizer, *env.compute);
  ExperienceBatcher::Options batching;
  batching.rows = {.row_tokens = row_tokens,
                   .rows_per_batch = rl.rows_per_batch,
                   .acc = accumulation_dtype(options.run.dtype),
                   .tp_size = mesh.size(Axis::tp)};
  batching.max_new_tokens = rl.max_new_tokens;
  batching.temperature = rl.temperature;
  batching.weights = objective.weights;
  batching.objective = {objective.policy, rl.clip_low, rl.clip_high, rl.ratio_bound, kl_in_reward_ ? 0.0 : rl.kl_beta};
  batcher_ = std::make_unique<ExperienceBatcher>(*env.ops, batching);
}

// ---- weights and state

std::vector<NamedShard> PolicyTrainer::shards() const {
  auto shards = trained_.step->shards();
  if (reference_)
    for (NamedShard& shard : reference_->shards()) shards.push_back(std::move(shard));
  return shards;
}

void PolicyTrainer::start_from_weights() {
  trained_.step->start();
  if (reference_) reference_->copy_from(*trained_.model, *trained_.store);
  steps_done_ = next_problem_ = update_of_rollout_ = 0;
}

std::map<std::string, std::string> PolicyTrainer::values() const {
  return {{"rl.next_problem", std::to_string(next_problem_)},
          {"rl.problems", std::to_string(scorer_.tasks().fingerprint())},
          {"optimizer.state", trained_.step->state()}};
}

void PolicyTrainer::restore(std::int64_t steps, const std::map<std::string, std::string>& values) {
  const auto value = [&](const std::string& name) {
    const auto found = values.find(name);
    if (found == values.end())
      throw DataError("checkpoint: its run state has no '" + name + "'; it is not one of an rl stage");
    return found->second;
  };
  if (value("rl.problems") != std::to_string(scorer_.tasks().fingerprint()))
    throw ConfigError(
        "rl.tasks: the files of problems are not those this run began with; put them back, or start over");
  trained_.step->after_load();
  trained_.step->restore(value("optimizer.state"));
  next_problem_ = std::stoll(value("rl.next_problem"));
  steps_done_ = steps;
  update_of_rollout_ = 0;
}

// ---- rollouts

RolloutOptions PolicyTrainer::sampling(std::int64_t group_size, std::uint64_t seed) const {
  const RlOptions& rl = options_.rl;
  RolloutOptions sampling;
  sampling.sampling = {rl.temperature, rl.top_p, rl.top_k, rl.min_p};
  sampling.max_new_tokens = length_stages_.tokens_after(steps_done_);
  sampling.group_size = group_size;
  sampling.seed = seed;
  return sampling;
}

std::vector<Experience> PolicyTrainer::teach(const DrawnProblems& drawn, const ScoredGroups& scored,
                                             RolloutTally& tally) {
  const RlOptions& rl = options_.rl;
  const auto group = static_cast<std::size_t>(rl.group_size);
  std::vector<std::optional<double>> totals;
  std::vector<Experience> experiences;
  for (std::size_t i = 0; i < drawn.completions.size(); ++i) {
    const Completion& completion = drawn.completions[i];
    tally.add(drawn, scored, i);
    totals.push_back(scored.results[i].total);
    experiences.push_back({.prompt = drawn.prompts[i / group].tokens,
                           .completion = completion.tokens,
                           .logprobs = completion.logprobs,
                           .ref_logprobs = {},
                           .advantage = 0.0,
                           .masked = !totals[i] || (rl.mask_truncated && completion.end == Completion::End::length)});
  }
  if (kl_in_reward_) {
    reference_->score(experiences, *batcher_);
    for (std::size_t i = 0; i < experiences.size(); ++i)
      if (totals[i]) *totals[i] -= rl.kl_beta * log_ratio(experiences[i]);
  }
  std::vector<Experience> kept;
  for (std::size_t first = 0; first < experiences.size(); first += group) {
    const GroupAdvantages advantages = group_advantages(std::span(totals).subspan(first, group), advantage_);
    tally.add_group(advantages);
    for (std::size_t i = first; i < first + group; ++i) {
      experiences[i].advantage = advantages.advantages[i - first];
      if (std::ssize(samples_) < rl.samples_per_rollout)
        samples_.push_back({drawn.prompts[i / group].id, drawn.problems[i / group].prompt, scored.texts[i],
                            drawn.problems[i / group].answer, totals[i].value_or(0.0), experiences[i].advantage});
      // Groups without spread teach nothing: where others may take their place, they go.
      if (rl.dynamic_sampling == 0 || !advantages.zero_spread) kept.push_back(std::move(experiences[i]));
    }
  }
  return kept;
}

void PolicyTrainer::whiten_advantages() {
  double sums[3] = {0.0, 0.0, 0.0};
  if (counts_problems(*env_.mesh))
    for (const Experience& e : experiences_)
      if (!e.masked) {
        sums[0] += e.advantage;
        sums[1] += e.advantage * e.advantage;
        sums[2] += 1.0;
      }
  env_.mesh->host(Axis::world).sum(std::span(sums));
  if (sums[2] == 0.0) return;
  const double mean = sums[0] / sums[2], variance = sums[1] / sums[2] - mean * mean;
  for (Experience& e : experiences_)
    if (!e.masked) whiten({&e.advantage, 1}, mean, variance);
}

RolloutStatistics PolicyTrainer::rollout() {
  const auto begin = Clock::now();
  const RlOptions& rl = options_.rl;
  experiences_.clear();
  samples_.clear();
  update_of_rollout_ = 0;
  RolloutTally tally(scorer_.rewards().members().size());
  HostGroup& world = env_.mesh->host(Axis::world);
  std::int64_t wanted = rl.prompts_per_rollout;
  for (std::int64_t round = 0; round <= rl.dynamic_sampling && wanted > 0; ++round) {
    DrawnProblems drawn = draw_problems(*env_.mesh, scorer_, {options_.run.seed, next_problem_, wanted, Split::train});
    complete(drawn, *engine_, scorer_, sampling(rl.group_size, options_.run.seed));
    next_problem_ += wanted;
    tally.add_tokens(engine_->tokens_generated());
    for (Experience& taught : teach(drawn, score(drawn, scorer_, rl.group_size, *env_.mesh), tally))
      experiences_.push_back(std::move(taught));
    // As many further prompts on every rank as the emptiest wants.
    const std::int64_t groups = std::ssize(experiences_) / rl.group_size, ranks = env_.mesh->size(Axis::data);
    wanted = world.max(std::max<std::int64_t>(0, rl.prompts_per_rollout / ranks - groups)) * ranks;
  }
  if (whitens_) whiten_advantages();
  if (reference_ && !kl_in_reward_) reference_->score(experiences_, *batcher_);
  // Updates of one rollout take their part of a shuffled order, the same for any rank that holds the same samples.
  const Philox random(options_.run.seed, RandomPurpose::data_order, static_cast<std::uint64_t>(next_problem_));
  std::vector<Experience> shuffled(experiences_.size());
  for (std::size_t i = 0; i < experiences_.size(); ++i)
    shuffled[permuted_index(random, experiences_.size(), i)] = std::move(experiences_[i]);
  experiences_ = std::move(shuffled);
  return tally.statistics(world, counts_problems(*env_.mesh), seconds_since(begin));
}

// ---- updates

StepResult PolicyTrainer::update() {
  const std::int64_t updates = options_.rl.updates_per_rollout;
  const auto all = static_cast<std::int64_t>(experiences_.size());
  std::vector<const Experience*> batch;
  for (std::int64_t i = all * update_of_rollout_ / updates; i < all * (update_of_rollout_ + 1) / updates; ++i)
    batch.push_back(&experiences_[static_cast<std::size_t>(i)]);
  ++update_of_rollout_;
  const BatchTotals own = count(batch);
  const bool counts = counts_problems(*env_.mesh);
  std::int64_t totals[2] = {counts ? own.samples : 0, counts ? own.tokens : 0};
  HostGroup& world = env_.mesh->host(Axis::world);
  world.sum(std::span(totals));
  const std::int64_t micro_batches = std::max<std::int64_t>(1, world.max(batcher_->micro_batches(batch)));
  const auto built = batcher_->build(batch, {totals[0], totals[1]}, micro_batches, *env_.compute);
  StepPlan plan;
  plan.step = steps_done_ + 1;
  plan.lr = lr_ = lr_schedule_.rate(plan.step, steps_done_);
  plan.bias_speed = 0.0;  // the router stays as pre-training balanced it
  const StepResult result = trained_.step->run(plan, built);
  ++steps_done_;
  if (const std::int64_t every = options_.rl.reference_refresh; reference_ && every > 0 && steps_done_ % every == 0)
    reference_->copy_from(*trained_.model, *trained_.store);
  return result;
}

}  // namespace athanor
