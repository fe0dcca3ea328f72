#include "jobs/stages/rl.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "io/checkpoint/checkpoint_store.hpp"
#include "io/metrics/metrics.hpp"
#include "jobs/initial_weights.hpp"
#include "jobs/rl/benchmark.hpp"
#include "jobs/rl/benchmark_summary.hpp"
#include "jobs/rl/policy_trainer.hpp"
#include "jobs/training_data.hpp"
#include "src/base/error.hpp"
#include "src/base/stopwatch.hpp"
#include "src/model/parameter_count.hpp"

namespace athanor {
namespace {

/// One run of the stage: the objects it needs and the loop.
class Reinforcement {
 public:
  explicit Reinforcement(StageContext& context)
      : context_(context),
        options_(context.options),
        env_(context.environment),
        folder_(context.folder.stage(context.name)),
        leads_(context.world.rank() == 0) {}

  StageStatus run() {
    if (leads_) std::filesystem::create_directories(folder_);
    tokenizer_ = load_tokenizer(options_.data.tokenizer);
    trainer_ = std::make_unique<PolicyTrainer>(env_, options_, *tokenizer_);
    store_ = std::make_unique<CheckpointStore>(folder_ / "checkpoints", context_.world, *env_.ops,
                                               CheckpointStore::Options{.keep_last = options_.run.keep_last});
    const bool resumed = load();
    if (leads_) {
      metrics_.emplace(folder_ / "metrics.jsonl", trainer_->steps_done());
      cut_records(folder_ / "samples.jsonl", trainer_->steps_done());
      samples_.open(folder_ / "samples.jsonl", std::ios::app);
    }
    spdlog::info("{}: {} on {}, rewards {}; {} parameters, {} ranks{}", context_.name, options_.rl.objective,
                 options_.rl.tasks, options_.rl.rewards, parameter_count(options_.model).total, context_.world.size(),
                 resumed ? fmt::format("; goes on after step {}", trainer_->steps_done()) : "");
    const StageStatus status = train();
    progress_.finish();
    return status;
  }

 private:
  bool load() {
    const auto shards = trainer_->shards();
    if (const auto state = store_->load_latest(shards, *env_.compute)) {
      trainer_->restore(state->step, state->values);
      return true;
    }
    if (context_.stage.init.empty())
      throw ConfigError("stage " + context_.name +
                        ": `init` names no weights; reinforcement needs a policy that is right now and then: give the "
                        "stage that pre-trains it, or a checkpoint folder");
    const auto weights = trainer_->weight_shards();
    load_initial_weights(context_, weights);
    trainer_->start_from_weights();
    return false;
  }

  StageStatus train() {
    store_->prepare(trainer_->shards());
    std::int64_t saved_step = trainer_->steps_done() > 0 ? trainer_->steps_done() : -1;
    const std::int64_t first_step = trainer_->steps_done();
    const auto begin = Clock::now();
    bool stopped = context_.stop.agreed(context_.world);
    if (!stopped && trainer_->steps_done() == 0) evaluate();
    while (!stopped && trainer_->steps_done() < options_.run.steps) {
      const std::int64_t before = trainer_->steps_done();
      const RolloutStatistics rollout = trainer_->rollout();
      write_samples();
      for (std::int64_t u = 0; u < options_.rl.updates_per_rollout && trainer_->steps_done() < options_.run.steps;
           ++u) {
        const auto update_begin = Clock::now();
        const StepResult result = trainer_->update();
        report(rollout, result, u == 0, seconds_since(update_begin), seconds_since(begin), first_step);
      }
      store_->poll();
      const std::int64_t step = trainer_->steps_done();
      const auto crossed = [&](std::int64_t every) { return every > 0 && before / every != step / every; };
      if (crossed(options_.run.eval_every) && step < options_.run.steps) evaluate();
      if (crossed(options_.run.save_every)) {
        save();
        saved_step = step;
      }
      stopped = context_.stop.agreed(context_.world);
    }
    const bool complete = trainer_->steps_done() >= options_.run.steps;
    if (complete) {
      evaluate();
      context_.summary["pass@1"] = fmt::format("{:.4f}", evaluation_.pass_at_1.value);
      context_.summary[fmt::format("pass@{}", evaluation_.samples)] =
          fmt::format("{:.4f}", evaluation_.pass_at_samples().value);
      context_.summary[fmt::format("maj@{}", evaluation_.samples)] = fmt::format("{:.4f}", evaluation_.majority.value);
      context_.summary["completion tokens"] = fmt::format("{:.1f}", evaluation_.length);
      context_.summary["steps"] = std::to_string(trainer_->steps_done());
    }
    if (saved_step != trainer_->steps_done()) save();
    store_->finish();
    progress_.finish();
    spdlog::info("{}: {} after step {}: {:.1f} s here", context_.name,
                 complete ? "complete" : "stopped by " + context_.stop.reason(), trainer_->steps_done(),
                 seconds_since(begin));
    return complete ? StageStatus::complete : StageStatus::interrupted;
  }

  void save() {
    RunState state;
    state.stage = context_.name;
    state.step = trainer_->steps_done();
    state.seed = options_.run.seed;
    state.values = trainer_->values();
    state.config_text = context_.config_text;
    state.layout_text = fmt::format("ranks {} dp {}", context_.world.size(), env_.mesh->size(Axis::dp));
    const auto shards = trainer_->shards();
    store_->save(state, shards, *env_.compute);
  }

  void evaluate() {
    const RlOptions& rl = options_.rl;
    const std::int64_t held_out = trainer_->scorer().tasks().num_problems(Split::held_out).value_or(rl.eval_problems);
    BenchmarkOptions benchmark;
    benchmark.problems = {options_.run.seed, 0, std::min(rl.eval_problems, held_out), Split::held_out};
    benchmark.sampling = trainer_->sampling(rl.eval_samples, options_.run.seed + 1);
    evaluation_ = run_benchmark(*env_.mesh, trainer_->scorer(), trainer_->engine(), benchmark);
    if (!leads_) return;
    std::vector<Scalar> scalars = {{"held_out/pass@1", evaluation_.pass_at_1.value},
                                   {"held_out/pass@1_error", evaluation_.pass_at_1.error},
                                   {"held_out/pass@k", evaluation_.pass_at_samples().value},
                                   {"held_out/maj@k", evaluation_.majority.value},
                                   {"held_out/completion_length", evaluation_.length},
                                   {"held_out/thinking", evaluation_.thinks},
                                   {"held_out/well_formed", evaluation_.well_formed},
                                   {"held_out/truncated", evaluation_.truncated}};
    if (evaluation_.language_consistency)
      scalars.push_back({"held_out/language_consistency", *evaluation_.language_consistency});
    metrics_->write(context_.name, trainer_->steps_done(), scalars);
    progress_.finish();
    spdlog::info(
        "{}: step {}: held-out pass@1 {:.3f} +- {:.3f}, pass@{} {:.3f}, maj@{} {:.3f}; {:.1f} tokens, {:.0f} % think "
        "first, right {} of these and {} of the others ({} problems, {:.1f} s)",
        context_.name, trainer_->steps_done(), evaluation_.pass_at_1.value, evaluation_.pass_at_1.error,
        evaluation_.samples, evaluation_.pass_at_samples().value, evaluation_.samples, evaluation_.majority.value,
        evaluation_.length, 100.0 * evaluation_.thinks, percent_text(evaluation_.accuracy_thinking),
        percent_text(evaluation_.accuracy_direct), evaluation_.problems, evaluation_.seconds);
  }

  void report(const RolloutStatistics& rollout, const StepResult& result, bool first, double update_seconds,
              double seconds, std::int64_t first_step) {
    if (!leads_) return;
    const std::int64_t step = trainer_->steps_done();
    const double tokens = std::max(1.0, result.policy[kPolicyTokens]);
    std::vector<Scalar> scalars = {{"loss", result.loss},
                                   {"grad_norm", result.grad_norm},
                                   {"lr", trainer_->learning_rate()},
                                   {"clipped", result.clipped ? 1.0 : 0.0},
                                   {"skipped", result.skipped ? 1.0 : 0.0},
                                   {"kl", result.policy[kPolicyKl] / tokens},
                                   {"entropy", result.policy[kPolicySurprise] / tokens},
                                   {"clip_fraction", result.policy[kPolicyClipped] / tokens},
                                   {"ratio/mean", result.policy[kPolicyRatio] / tokens},
                                   {"expert_load_max_over_mean", result.expert_load_max_over_mean},
                                   {"update_seconds", update_seconds}};
    if (first) {
      // Before the first update of a rollout both are the same weights: what differs is arithmetic.
      scalars.push_back({"rollout_train_logprob_gap/mean", result.policy[kPolicyGap] / tokens});
      scalars.push_back({"rollout_train_logprob_gap/max", result.policy[kPolicyLargestGap]});
      scalars.push_back({"reward/mean", rollout.reward});
      scalars.push_back({"accuracy", rollout.accuracy});
      scalars.push_back({"thinking", rollout.thinking});
      scalars.push_back({"completion_length/mean", rollout.length});
      scalars.push_back({"completion_length/truncated", rollout.truncated});
      scalars.push_back({"frac_zero_std_groups", rollout.zero_spread_groups});
      scalars.push_back({"unscored", rollout.unscored});
      scalars.push_back({"rollout_tokens_per_second", rollout.tokens_per_second});
      scalars.push_back({"rollout_seconds", rollout.seconds});
      const auto members = trainer_->scorer().rewards().members();
      reward_names_.resize(members.size());
      for (std::size_t r = 0; r < members.size(); ++r) {
        reward_names_[r] = "reward/" + members[r].name + "/mean";
        scalars.push_back({reward_names_[r], rollout.rewards[r]});
      }
    }
    metrics_->write(context_.name, step, scalars);
    const bool important = step % options_.run.log_every == 0 || step == options_.run.steps;
    if (!progress_.on_terminal() && !important) return;
    const double left = static_cast<double>(options_.run.steps - step) * seconds /
                        static_cast<double>(std::max<std::int64_t>(1, step - first_step));
    progress_.show(
        fmt::format(
            "{} step {}/{} reward {:.3f} accuracy {:.3f} length {:.1f} think {:.0f} % entropy {:.3f} grad {:.2f} gap "
            "{:.1e} {:.0f} tok/s ETA {}",
            context_.name, step, options_.run.steps, rollout.reward, rollout.accuracy, rollout.length,
            100.0 * rollout.thinking, result.policy[kPolicySurprise] / tokens, result.grad_norm,
            result.policy[kPolicyGap] / tokens, rollout.tokens_per_second, format_seconds(left)),
        important);
  }

  void write_samples() {
    if (!leads_) return;
    for (const RolloutSample& sample : trainer_->samples())
      samples_ << nlohmann::json({{"stage", context_.name},
                                  {"step", trainer_->steps_done() + 1},
                                  {"prompt_id", sample.prompt_id},
                                  {"prompt", sample.prompt},
                                  {"completion", sample.completion},
                                  {"answer", sample.answer},
                                  {"reward", sample.reward},
                                  {"advantage", sample.advantage}})
                      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
               << '\n';
    samples_.flush();
    if (!samples_) throw DataError("rl: writing " + (folder_ / "samples.jsonl").string() + " failed");
  }

  StageContext& context_;
  const JobOptions& options_;
  Environment& env_;
  std::filesystem::path folder_;
  bool leads_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<PolicyTrainer> trainer_;
  std::unique_ptr<CheckpointStore> store_;
  BenchmarkResult evaluation_;
  std::optional<MetricsFile> metrics_;
  std::ofstream samples_;
  std::vector<std::string> reward_names_;
  ProgressLine progress_;
};

}  // namespace

void RlStage::check(const JobOptions& options) const {
  ProblemScorerOptions scorer = rl_scorer_options(options);
  scorer.logs = false;
  (void)ProblemScorer(scorer, *load_tokenizer(options.data.tokenizer));
}

StageStatus RlStage::run(StageContext& context) { return Reinforcement(context).run(); }

}  // namespace athanor
