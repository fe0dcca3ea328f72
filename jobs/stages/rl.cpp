#include "jobs/stages/rl.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "jobs/initial_weights.hpp"
#include "jobs/rl/benchmark.hpp"
#include "jobs/rl/benchmark_summary.hpp"
#include "jobs/rl/policy_trainer.hpp"
#include "jobs/rl/row_tokens.hpp"
#include "jobs/stages/training_run.hpp"
#include "src/base/error.hpp"
#include "src/model/parameter_count.hpp"

namespace athanor {
namespace {

class Reinforcement final : public TrainingRun {
 public:
  using TrainingRun::TrainingRun;

 private:
  void build() override {
    tokenizer_ = load_tokenizer(options().data.tokenizer);
    std::unique_ptr<PretrainingMix> mix;
    if (options().rl.ptx_weight > 0.0) {
      TrainingData text = open_mix();
      mix = std::make_unique<PretrainingMix>(env(), options(), std::move(text), row_tokens_of(options()));
    }
    trainer_ =
        std::make_unique<PolicyTrainer>(env(), options(), *tokenizer_, std::move(mix),
                                        [this](const std::string& name) { return named_checkpoint(context(), name); });
  }

  /// Text in rows as long as the completions'.
  TrainingData open_mix() {
    DataOptions data = options().data;
    data.sequence_length = row_tokens_of(options());
    data.held_out.clear();
    data.held_out_fraction = options().data.held_out_fraction;
    return open_training_data(
        data, options().run.seed, folder() / "data", true, context().world,
        [this](const std::string& file, const PrepareProgress& now) {
          progress().show(fmt::format("{}: tokenising {}: {:.0f} %", context().name, file, 100.0 * now.done), false);
          StopSignal::require_not_asked("tokenising " + file);
        });
  }

  std::vector<NamedShard> shards() const override { return trainer_->shards(); }
  std::map<std::string, std::string> values() const override { return trainer_->values(); }
  void restore(const RunState& state) override { trainer_->restore(state.step, state.values); }
  std::int64_t steps_done() const override { return trainer_->steps_done(); }

  void begin() override {
    load_init(trainer_->weight_shards(), "reinforcement needs a policy that is right now and then");
    if (Critic* critic = trainer_->critic()) {
      const std::string& from = options().rl.critic.empty() ? context().stage.init : options().rl.critic;
      critic->load(named_checkpoint(context(), from), context().world);
    }
    trainer_->start_from_weights();
  }

  void describe(bool resumed) override {
    if (leads()) {
      cut_records(folder() / "samples.jsonl", trainer_->steps_done());
      samples_.open(folder() / "samples.jsonl", std::ios::app);
    }
    std::string prompts;
    for (const PromptSetSpec& set : prompt_sets(options().rl))
      prompts += (prompts.empty() ? "" : "; ") + set.tasks + ", rewards " + set.rewards;
    spdlog::info("{}: {} on {}; {} parameters, {} ranks{}", context().name, options().rl.objective, prompts,
                 parameter_count(options().model).total, context().world.size(),
                 resumed ? fmt::format("; goes on after step {}", trainer_->steps_done()) : "");
  }

  void advance() override {
    const RolloutStatistics rollout = roll_out();
    write_samples();
    for (std::int64_t u = 0; u < options().rl.updates_per_rollout && steps_done() < total_steps(); ++u) {
      const auto begin = Clock::now();
      const UpdateResult result = trainer_->update();
      report(rollout, result, u == 0, seconds_since(begin));
    }
  }

  RolloutStatistics roll_out() {
    const CollectiveLog::InPhase phase(context().world.log(), JobPhase::rollout);
    return trainer_->rollout();
  }

  void conclude(bool complete) override {
    if (complete) {
      context().summary["pass@1"] = fmt::format("{:.4f}", evaluation_.pass_at_1.value);
      context().summary[fmt::format("pass@{}", evaluation_.samples)] =
          fmt::format("{:.4f}", evaluation_.pass_at_samples().value);
      context().summary[fmt::format("maj@{}", evaluation_.samples)] = fmt::format("{:.4f}", evaluation_.majority.value);
      context().summary["completion tokens"] = fmt::format("{:.1f}", evaluation_.length);
      context().summary["steps"] = std::to_string(trainer_->steps_done());
    }
    spdlog::info("{}", ending(complete));
  }

  void measure(Moment) override {
    const RlOptions& rl = options().rl;
    const std::int64_t held_out = trainer_->scorer().tasks().num_problems(Split::held_out).value_or(rl.eval_problems);
    BenchmarkOptions benchmark;
    benchmark.problems = {options().run.seed, 0, std::min(rl.eval_problems, held_out), Split::held_out};
    benchmark.sampling = trainer_->sampling(rl.eval_samples, options().run.seed + 1);
    evaluation_ = run_benchmark(*env().mesh, trainer_->scorer(), trainer_->engine(), benchmark);
    if (!leads()) return;
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
    write_metrics(scalars);
    progress().finish();
    spdlog::info(
        "{}: step {}: held-out pass@1 {:.3f} +- {:.3f}, pass@{} {:.3f}, maj@{} {:.3f}; {:.1f} tokens, {:.0f} % think "
        "first, right {} of these and {} of the others ({} problems, {:.1f} s)",
        context().name, trainer_->steps_done(), evaluation_.pass_at_1.value, evaluation_.pass_at_1.error,
        evaluation_.samples, evaluation_.pass_at_samples().value, evaluation_.samples, evaluation_.majority.value,
        evaluation_.length, 100.0 * evaluation_.thinks, percent_text(evaluation_.accuracy_thinking),
        percent_text(evaluation_.accuracy_direct), evaluation_.problems, evaluation_.seconds);
  }

  void report(const RolloutStatistics& rollout, const UpdateResult& update, bool first, double update_seconds) {
    if (!leads()) return;
    const StepResult& result = update.policy;
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
    if (update.critic) {
      const auto& sums = update.critic->scalar;
      const double count = std::max(1.0, sums[kValueTokens]);
      const double mean = sums[kValueReturn] / count, spread = sums[kValueReturnSquared] / count - mean * mean;
      scalars.push_back({"critic/loss", update.critic->loss});
      scalars.push_back({"critic/grad_norm", update.critic->grad_norm});
      scalars.push_back({"critic/value", sums[kValueSum] / count});
      scalars.push_back({"critic/clip_fraction", sums[kValueClipped] / count});
      const double error = sums[kValueErrorSquared] / count - std::pow(sums[kValueError] / count, 2.0);
      scalars.push_back({"critic/explained_variance", spread > 0.0 ? 1.0 - error / spread : 0.0});
    }
    if (options().rl.ptx_weight > 0.0) scalars.push_back({"ptx/loss", update.ptx_loss});
    if (first && options().rl.kl_in != KlIn::loss && options().rl.kl_beta != 0.0) {
      scalars.push_back({"kl/completion", rollout.kl});
      scalars.push_back({"kl/beta", trainer_->kl_beta()});
    }
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
      const std::vector<std::string>& names = trainer_->reward_names();
      reward_names_.resize(names.size());
      for (std::size_t r = 0; r < names.size(); ++r) {
        reward_names_[r] = "reward/" + names[r] + "/mean";
        scalars.push_back({reward_names_[r], rollout.rewards[r]});
      }
    }
    write_metrics(scalars);
    if (!progress().on_terminal() && !is_logged()) return;
    progress().show(
        fmt::format(
            "{} step {}/{} reward {:.3f} accuracy {:.3f} length {:.1f} think {:.0f} % entropy {:.3f} grad {:.2f} gap "
            "{:.1e} {:.0f} tok/s ETA {}",
            context().name, step, options().run.steps, rollout.reward, rollout.accuracy, rollout.length,
            100.0 * rollout.thinking, result.policy[kPolicySurprise] / tokens, result.grad_norm,
            result.policy[kPolicyGap] / tokens, rollout.tokens_per_second, time_left()),
        is_logged());
  }

  void write_samples() {
    if (!leads()) return;
    int number = 0;
    for (const RolloutSample& sample : trainer_->samples()) {
      write_text(trainer_->steps_done() + 1, fmt::format("completion {}", number++),
                 completion_markdown(sample.prompt, sample.completion,
                                     fmt::format("reward {:.3f}, advantage {:.3f}, answer `{}`", sample.reward,
                                                 sample.advantage, sample.answer)));
      samples_ << nlohmann::json({{"stage", context().name},
                                  {"step", trainer_->steps_done() + 1},
                                  {"prompt_id", sample.prompt_id},
                                  {"prompt", sample.prompt},
                                  {"completion", sample.completion},
                                  {"answer", sample.answer},
                                  {"reward", sample.reward},
                                  {"advantage", sample.advantage}})
                      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
               << '\n';
    }
    samples_.flush();
    if (!samples_) throw DataError("rl: writing " + (folder() / "samples.jsonl").string() + " failed");
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<PolicyTrainer> trainer_;
  BenchmarkResult evaluation_;
  std::ofstream samples_;
  std::vector<std::string> reward_names_;
};

}  // namespace

void RlStage::check(const JobOptions& options) const {
  const auto tokenizer = load_tokenizer(options.data.tokenizer);
  for (const PromptSetSpec& set : prompt_sets(options.rl)) {
    ProblemScorerOptions scorer = rl_scorer_options(options, set);
    scorer.logs = false;
    const ProblemScorer problems(scorer, *tokenizer);
    // Files were looked through; of tasks without end the first ones tell.
    if (problems.tasks().num_problems(Split::train)) continue;
    constexpr std::int64_t kLookedAt = 256;
    for (std::int64_t i = 0; i < kLookedAt; ++i) {
      const Problem problem = problems.problem(options.run.seed, i, Split::train);
      if (const auto tokens = std::ssize(problems.prompt(problem, i).tokens); tokens > scorer.max_prompt_tokens)
        throw ConfigError(fmt::format(
            "rl: \"{}\" of {} is a prompt of {} tokens, and a row has room for {} beside rl.max_new_tokens = {}; raise "
            "rl.row_tokens (or data.sequence_length), or lower rl.max_new_tokens",
            problem.prompt, set.tasks, tokens, scorer.max_prompt_tokens, options.rl.max_new_tokens));
    }
  }
}

StageStatus RlStage::run(StageContext& context) { return Reinforcement(context).run(); }

}  // namespace athanor
