#include "jobs/rl/policy_trainer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <numeric>

#include "jobs/trainer.hpp"
#include "parallel/data/owned_slices.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"
#include "src/base/stopwatch.hpp"

namespace athanor {
namespace {

struct Objective {
  PolicyObjective policy;
  PolicyWeights weights;
  AdvantageKind advantage;
  bool whitens;
};

/// The published methods by name: what their advantage, ratio and normaliser are (FACTS 4.1 and 4.3).
Objective objective_of(const std::string& name) {
  static const std::map<std::string, Objective> known = {
      {"grpo", {PolicyObjective::clipped, PolicyWeights::by_sample, AdvantageKind::group, false}},
      {"dr_grpo", {PolicyObjective::clipped, PolicyWeights::by_length, AdvantageKind::mean_only, false}},
      {"dapo", {PolicyObjective::clipped, PolicyWeights::by_token, AdvantageKind::group, false}},
      {"bnpo", {PolicyObjective::clipped, PolicyWeights::by_token, AdvantageKind::group, false}},
      {"gspo", {PolicyObjective::gspo, PolicyWeights::by_sample, AdvantageKind::group, false}},
      {"cispo", {PolicyObjective::cispo, PolicyWeights::by_token, AdvantageKind::group, false}},
      {"rloo", {PolicyObjective::clipped, PolicyWeights::by_token, AdvantageKind::rloo, false}},
      {"reinforce++", {PolicyObjective::clipped, PolicyWeights::by_token, AdvantageKind::mean_only, true}}};
  const auto found = known.find(name);
  if (found != known.end()) return found->second;
  std::string names;
  for (const auto& [key, value] : known) names += (names.empty() ? "" : ", ") + key;
  throw ConfigError("rl.objective = " + name + ": wanted one of " + names);
}

std::int64_t row_tokens_of(const JobOptions& options) {
  return options.rl.row_tokens > 0 ? options.rl.row_tokens : options.data.sequence_length;
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
          .prompt_template = rl.prompt_template,
          .behind_eos = !options.data.isolate_documents,
          .max_prompt_tokens = left};
}

PolicyTrainer::PolicyTrainer(Environment& env, const JobOptions& options, const Tokenizer& tokenizer)
    : env_(env),
      options_(options),
      scorer_(rl_scorer_options(options), tokenizer),
      lr_schedule_(options.optimizer.lr, options.run.steps) {
  const RlOptions& rl = options.rl;
  ProcessMesh& mesh = *env.mesh;
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
  mesh.host(Axis::world).check_same("the problems of rl.tasks", scorer_.tasks().fingerprint());
  const Objective objective = objective_of(rl.objective);
  advantage_ = objective.advantage;
  whitens_ = objective.whitens;
  model_ = make_model(*env.ops, options, mesh, *env.compute);
  store_ = std::make_unique<ParameterStore>(*env.ops, model_->parameters(),
                                            ParameterStore::Options{.pad_elements = ReductionRanks(mesh).bucket_pad()},
                                            *env.compute);
  train_step_ = std::make_unique<TrainStep>(*env.ops, model_->chunks(), *store_, mesh, options.optimizer,
                                            options.run.dtype, *env.compute, *env.comm, schedule_of(options.parallel),
                                            options.model.dim, options.parallel.recompute);
  if (rl.kl_beta != 0.0) {
    reference_ = make_model(*env.ops, options, mesh, *env.compute);
    reference_store_ = std::make_unique<ParameterStore>(*env.ops, reference_->parameters(),
                                                        ParameterStore::Options{.with_gradients = false}, *env.compute);
  }
  const std::int64_t row_tokens = row_tokens_of(options);
  engine_ = std::make_unique<RolloutEngine>(*env.ops, *model_, mesh, rl.slots, row_tokens + 1,
                                            cache_form(options.run.numerics), &tokenizer, *env.compute);
  ExperienceBatcher::Options batching;
  batching.row_tokens = row_tokens;
  batching.rows_per_batch = rl.rows_per_batch;
  batching.max_new_tokens = rl.max_new_tokens;
  batching.temperature = rl.temperature;
  batching.weights = objective.weights;
  batching.objective = {objective.policy, rl.clip_low, rl.clip_high, rl.ratio_bound, rl.kl_beta};
  batching.acc = accumulation_dtype(options.run.dtype);
  batching.tp_size = mesh.size(Axis::tp);
  batcher_ = std::make_unique<ExperienceBatcher>(*env.ops, batching);
}

// ---- weights and state

std::vector<NamedShard> PolicyTrainer::weight_shards() const {
  auto shards = athanor::weight_shards(*store_);
  for (NamedShard& state : state_shards(model_->states(), false)) shards.push_back(std::move(state));
  return shards;
}

std::vector<NamedShard> PolicyTrainer::shards() const {
  auto shards = train_step_->shards();
  if (!reference_) return shards;
  const ReductionRanks ranks(*env_.mesh);
  for (const Parameter* parameter : reference_store_->parameters()) {
    ShardSpec spec = parameter->spec;
    spec.name = "reference/" + spec.name;
    shards.push_back({spec, parameter->weight, ranks.of(parameter->group).rank() == 0});
  }
  for (NamedShard& state : state_shards(reference_->states(), env_.mesh->coord(Axis::layer) == 0)) {
    state.spec.name = "reference/" + state.spec.name.substr(std::string("model/").size());
    shards.push_back(std::move(state));
  }
  return shards;
}

void PolicyTrainer::refresh_reference() {
  if (!reference_) return;
  for (std::size_t g = 0; g < store_->groups().size(); ++g) {
    // The two stores are padded differently, so parameter by parameter.
    for (const auto& member : store_->groups()[g].members) {
      const auto& all = reference_store_->parameters();
      const auto twin = std::find_if(all.begin(), all.end(),
                                     [&](const Parameter* p) { return p->name() == member.parameter->name(); });
      env_.ops->copy((*twin)->weight, member.parameter->weight, *env_.compute);
    }
  }
  const auto from = model_->states(), to = reference_->states();
  for (std::size_t i = 0; i < from.size(); ++i) env_.ops->copy(to[i]->tensor, from[i]->tensor, *env_.compute);
}

void PolicyTrainer::start_from_weights() {
  train_step_->start();
  refresh_reference();
  steps_done_ = next_problem_ = update_of_rollout_ = 0;
}

std::map<std::string, std::string> PolicyTrainer::values() const {
  return {{"rl.next_problem", std::to_string(next_problem_)},
          {"rl.problems", std::to_string(scorer_.tasks().fingerprint())},
          {"optimizer.state", train_step_->state()}};
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
  train_step_->after_load();
  train_step_->restore(value("optimizer.state"));
  next_problem_ = std::stoll(value("rl.next_problem"));
  steps_done_ = steps;
  update_of_rollout_ = 0;
}

// ---- rollouts

RolloutOptions PolicyTrainer::sampling(std::int64_t group_size, std::uint64_t seed) const {
  const RlOptions& rl = options_.rl;
  RolloutOptions sampling;
  sampling.sampling = {rl.temperature, rl.top_p, rl.top_k, rl.min_p};
  sampling.max_new_tokens = rl.max_new_tokens;
  sampling.group_size = group_size;
  sampling.seed = seed;
  return sampling;
}

namespace {
/// What is added up over completions and ranks; the rewards of the set follow.
enum Sum : std::size_t {
  kReward,
  kScored,
  kRight,
  kChecked,
  kThinks,
  kLength,
  kTruncated,
  kCompletions,
  kGroups,
  kFlatGroups,
  kUnscored,
  kNumSums
};
}  // namespace

void PolicyTrainer::add_experience(const DrawnProblems& drawn, const ScoredGroups& scored, std::span<double> sums) {
  const auto group = static_cast<std::size_t>(options_.rl.group_size);
  const std::size_t members = scorer_.rewards().members().size();
  for (std::size_t p = 0; p < drawn.problems.size(); ++p) {
    std::vector<std::optional<double>> totals;
    for (std::size_t g = 0; g < group; ++g) totals.push_back(scored.results[p * group + g].total);
    const GroupAdvantages advantages = group_advantages(totals, advantage_);
    sums[kGroups] += 1.0;
    sums[kFlatGroups] += advantages.zero_spread ? 1.0 : 0.0;
    sums[kUnscored] += static_cast<double>(advantages.unscored);
    for (std::size_t g = 0; g < group; ++g) {
      const std::size_t i = p * group + g;
      const Completion& completion = drawn.completions[i];
      const bool truncated = completion.end == Completion::End::length;
      sums[kCompletions] += 1.0;
      sums[kLength] += static_cast<double>(completion.tokens.size());
      sums[kTruncated] += truncated ? 1.0 : 0.0;
      sums[kThinks] += scored.thinks[i] ? 1.0 : 0.0;
      if (scored.right[i]) {
        sums[kChecked] += 1.0;
        sums[kRight] += *scored.right[i] ? 1.0 : 0.0;
      }
      if (totals[g]) {
        sums[kScored] += 1.0;
        sums[kReward] += *totals[g];
      }
      for (std::size_t r = 0; r < members; ++r)
        if (const auto& part = scored.results[i].parts[r]; part.value) {
          sums[kNumSums + 2 * r] += *part.value;
          sums[kNumSums + 2 * r + 1] += 1.0;
        }
      experiences_.push_back({.prompt = drawn.prompts[p].tokens,
                              .completion = completion.tokens,
                              .logprobs = completion.logprobs,
                              .ref_logprobs = {},
                              .advantage = advantages.advantages[g],
                              .masked = !totals[g] || (options_.rl.mask_truncated && truncated)});
      if (static_cast<std::int64_t>(samples_.size()) < options_.rl.samples_per_rollout)
        samples_.push_back({drawn.prompts[p].id, drawn.problems[p].prompt, scored.texts[i], drawn.problems[p].answer,
                            totals[g].value_or(0.0), advantages.advantages[g]});
    }
  }
}

RolloutStatistics PolicyTrainer::rollout() {
  const auto begin = std::chrono::steady_clock::now();
  const RlOptions& rl = options_.rl;
  experiences_.clear();
  samples_.clear();
  update_of_rollout_ = 0;
  const std::size_t members = scorer_.rewards().members().size();
  std::vector<double> sums(kNumSums + 2 * members);
  double generated = 0.0;
  std::int64_t wanted = rl.prompts_per_rollout;
  HostGroup& world = env_.mesh->host(Axis::world);
  const bool counts = counts_problems(*env_.mesh);
  for (std::int64_t round = 0; round <= rl.dynamic_sampling && wanted > 0; ++round) {
    DrawnProblems drawn = draw_problems(*env_.mesh, scorer_, {options_.run.seed, next_problem_, wanted, Split::train});
    complete(drawn, *engine_, scorer_, sampling(rl.group_size, options_.run.seed));
    next_problem_ += wanted;
    generated += counts ? static_cast<double>(engine_->tokens_generated()) : 0.0;
    const ScoredGroups scored = score(drawn, scorer_, rl.group_size, *env_.mesh);
    add_experience(drawn, scored, sums);
    if (rl.dynamic_sampling == 0) break;
    // Groups without spread teach nothing: others take their place, as many on every rank.
    std::erase_if(experiences_, [](const Experience& e) { return e.advantage == 0.0; });
    const auto groups = static_cast<std::int64_t>(experiences_.size()) / rl.group_size;
    const std::int64_t share = rl.prompts_per_rollout / env_.mesh->size(Axis::dp);
    wanted = env_.mesh->host(Axis::world).max(std::max<std::int64_t>(0, share - groups)) * env_.mesh->size(Axis::dp);
  }
  if (!counts) std::fill(sums.begin(), sums.end(), 0.0);
  sums.push_back(generated);
  world.sum(std::span(sums));
  if (whitens_) {
    double first[3] = {0.0, 0.0, 0.0};
    if (counts)
      for (const Experience& e : experiences_) {
        first[0] += e.advantage;
        first[1] += e.advantage * e.advantage;
        first[2] += 1.0;
      }
    world.sum(std::span(first));
    const double mean = first[0] / first[2], variance = first[1] / first[2] - mean * mean;
    for (Experience& e : experiences_) whiten({&e.advantage, 1}, mean, variance);
  }
  score_reference();
  // Updates of one rollout take their part of a shuffled order, the same for any rank that holds the same samples.
  const Philox random(options_.run.seed, RandomPurpose::data_order, static_cast<std::uint64_t>(next_problem_));
  std::vector<Experience> shuffled(experiences_.size());
  for (std::size_t i = 0; i < experiences_.size(); ++i)
    shuffled[permuted_index(random, experiences_.size(), i)] = std::move(experiences_[i]);
  experiences_ = std::move(shuffled);

  RolloutStatistics result;
  const auto mean = [&](std::size_t sum, std::size_t count) {
    return sums[count] > 0.0 ? sums[sum] / sums[count] : 0.0;
  };
  result.reward = mean(kReward, kScored);
  result.accuracy = mean(kRight, kChecked);
  result.thinking = mean(kThinks, kCompletions);
  result.length = mean(kLength, kCompletions);
  result.truncated = mean(kTruncated, kCompletions);
  result.zero_spread_groups = mean(kFlatGroups, kGroups);
  result.unscored = mean(kUnscored, kCompletions);
  for (std::size_t r = 0; r < members; ++r) result.rewards.push_back(mean(kNumSums + 2 * r, kNumSums + 2 * r + 1));
  result.completions = static_cast<std::int64_t>(sums[kCompletions]);
  result.groups = static_cast<std::int64_t>(sums[kGroups]);
  result.seconds = world.max(seconds_since(begin));
  result.tokens_per_second = sums.back() / result.seconds;
  return result;
}

void PolicyTrainer::score_reference() {
  if (!reference_) return;
  std::vector<const Experience*> batch;
  for (const Experience& experience : experiences_) batch.push_back(&experience);
  const std::int64_t count = env_.mesh->host(Axis::world).max(batcher_->micro_batches(batch));
  const auto micro_batches = batcher_->build_scoring(batch, count, *env_.compute);
  std::vector<std::vector<double>> losses;
  for (const MicroBatch& micro_batch : micro_batches) {
    ExecContext ctx{*env_.ops, *env_.compute, *env_.comm, micro_batch, options_.run.dtype, false};
    Tensor losses_T = reference_->token_losses(ctx);
    if (env_.mesh->size(Axis::pp) > 1) {  // from the rank with the head to all
      if (!losses_T.defined()) losses_T = ctx.empty_acc({micro_batch.tokens_T.dim(0)});
      env_.mesh->along(Axis::pp).broadcast(losses_T, reference_->head_rank(), *env_.compute);
    }
    const auto tokens = static_cast<std::size_t>(losses_T.numel());
    std::vector<double> values(tokens);
    if (losses_T.dtype() == DType::f64) {
      env_.ops->download(std::as_writable_bytes(std::span(values)), losses_T, *env_.compute);
      env_.compute->synchronize();
    } else {
      std::vector<float> narrow(tokens);
      env_.ops->download(std::as_writable_bytes(std::span(narrow)), losses_T, *env_.compute);
      env_.compute->synchronize();
      values.assign(narrow.begin(), narrow.end());
    }
    losses.push_back(std::move(values));
  }
  for (std::size_t i = 0; i < experiences_.size(); ++i) {
    const auto place = batcher_->place_of(i);
    for (std::size_t t = 0; t < experiences_[i].completion.size(); ++t)
      experiences_[i].ref_logprobs.push_back(-losses[place.micro_batch][place.first + t]);
  }
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
  const StepResult result = train_step_->run(plan, built);
  ++steps_done_;
  if (const std::int64_t every = options_.rl.reference_refresh; every > 0 && steps_done_ % every == 0)
    refresh_reference();
  return result;
}

}  // namespace athanor
