#include "jobs/stages/reward_model.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "jobs/initial_weights.hpp"
#include "jobs/rl/preference_data.hpp"
#include "jobs/rl/reward_trainer.hpp"
#include "jobs/scalar_weights.hpp"
#include "jobs/stages/training_run.hpp"
#include "src/base/error.hpp"
#include "src/model/parameter_count.hpp"

namespace athanor {
namespace {

class RewardModelling final : public TrainingRun {
 public:
  explicit RewardModelling(StageContext& context) : TrainingRun(context) {}

 private:
  void build() override {
    tokenizer_ = load_tokenizer(options().data.tokenizer);
    data_ = read_preference_data(options(), *tokenizer_, leads());
    context().world.check_same("the preferences of reward_model.data", data_.fingerprint);
    trainer_ = std::make_unique<RewardTrainer>(env(), options(), data_.train);
  }
  std::vector<NamedShard> shards() const override { return trainer_->shards(); }
  std::map<std::string, std::string> values() const override { return trainer_->values(data_.fingerprint); }
  void restore(const RunState& state) override { trainer_->restore(state.step, state.values, data_.fingerprint); }

  void begin() override {
    if (context().stage.init.empty())
      throw ConfigError("stage " + context().name +
                        ": `init` names no weights; a reward model begins as a model that knows the language: give the "
                        "name of an earlier stage, or a checkpoint folder");
    trainer_->initialize();
    const auto checkpoint = named_checkpoint(context(), context().stage.init);
    const bool has_head =
        load_scalar_weights(checkpoint, context().world, trainer_->weight_shards(), *env().ops, *env().compute);
    spdlog::info("{}: weights of {}, {} scalar head", context().name, checkpoint.string(), has_head ? "its" : "a new");
    trainer_->start_from_weights();
  }

  std::int64_t steps_done() const override { return trainer_->steps_done(); }
  std::int64_t total_steps() const override { return trainer_->total_steps(); }

  void describe(bool resumed) override {
    const RewardModelOptions& own = options().reward_model;
    spdlog::info(
        "{}: {} preferences of {} prompts ({} lines left out), {} held out; mean length of {} answers {:.1f} bytes, of "
        "{} ones {:.1f}; {} parameters, {} ranks{}",
        context().name, own.pointwise ? "pointwise" : "pairwise", data_.train.size(), data_.left_out,
        data_.held_out.size(), own.pointwise ? "good" : "chosen", data_.lengths.good,
        own.pointwise ? "bad" : "rejected", data_.lengths.bad, parameter_count(trainer_->model().config()).total,
        context().world.size(), resumed ? fmt::format("; goes on after step {}", steps_done()) : "");
  }

  void advance() override {
    const auto begin = Clock::now();
    const StepResult result = trainer_->step();
    if (!leads()) return;
    const double pairs = std::max(1.0, result.scalar[kPreferenceCount]);
    const double good = result.scalar[kPreferenceGoodScore] / std::max(1.0, result.scalar[kPreferenceGoodCount]);
    const double bad = result.scalar[kPreferenceBadScore] / std::max(1.0, result.scalar[kPreferenceBadCount]);
    const double accuracy = result.scalar[kPreferenceRight] / pairs;
    const std::array<Scalar, 12> scalars{{{"prompts", static_cast<double>(trainer_->prompts_seen())},
                                          {"loss", result.loss},
                                          {"accuracy", accuracy},
                                          {"score/good", good},
                                          {"score/bad", bad},
                                          {"comparisons", result.scalar[kPreferenceCount]},
                                          {"grad_norm", result.grad_norm},
                                          {"lr", trainer_->learning_rate()},
                                          {"clipped", result.clipped ? 1.0 : 0.0},
                                          {"skipped", result.skipped ? 1.0 : 0.0},
                                          {"expert_load_max_over_mean", result.expert_load_max_over_mean},
                                          {"step_seconds", seconds_since(begin)}}};
    write_metrics(scalars);
    if (!progress().on_terminal() && !is_logged()) return;
    progress().show(fmt::format("{} step {}/{} loss {:.4f} accuracy {:.3f} scores {:.2f} and {:.2f} grad {:.2f} ETA {}",
                                context().name, steps_done(), total_steps(), result.loss, accuracy, good, bad,
                                result.grad_norm, time_left()),
                    is_logged());
  }

  void measure(Moment) override {
    quality_ = trainer_->measure(data_.held_out);
    report_quality();
  }

  void finish() override {
    const RewardModelOptions& own = options().reward_model;
    if (own.pointwise || !own.centre_bias) return;
    const double shift = trainer_->centre_bias();
    quality_.good_score -= shift;
    quality_.bad_score -= shift;
    progress().finish();
    spdlog::info("{}: bias shifted by {:.4f}: the best answers score 0 on average", context().name, -shift);
  }

  void conclude(bool complete) override {
    if (complete) {
      context().summary["held-out accuracy"] = fmt::format("{:.4f}", quality_.accuracy);
      context().summary["held-out loss"] = fmt::format("{:.4f}", quality_.loss);
      context().summary["comparisons held out"] = std::to_string(quality_.count);
      context().summary["mean length good, bad"] = fmt::format("{:.1f}, {:.1f}", data_.lengths.good, data_.lengths.bad);
      context().summary["steps"] = std::to_string(steps_done());
    }
    spdlog::info("{}", ending(complete));
  }

  void report_quality() {
    if (!leads()) return;
    const std::array<Scalar, 4> scalars{{{"held_out/accuracy", quality_.accuracy},
                                         {"held_out/loss", quality_.loss},
                                         {"held_out/score/good", quality_.good_score},
                                         {"held_out/score/bad", quality_.bad_score}}};
    write_metrics(scalars);
    progress().finish();
    spdlog::info("{}: step {}: held-out accuracy {:.3f}, loss {:.4f}, mean scores {:.2f} and {:.2f} ({} comparisons)",
                 context().name, steps_done(), quality_.accuracy, quality_.loss, quality_.good_score,
                 quality_.bad_score, quality_.count);
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  PreferenceData data_;
  std::unique_ptr<RewardTrainer> trainer_;
  PreferenceQuality quality_;
};

}  // namespace

void RewardModelStage::check(const JobOptions& options) const {
  (void)read_preference_data(options, *load_tokenizer(options.data.tokenizer), false);
}

StageStatus RewardModelStage::run(StageContext& context) { return RewardModelling(context).run(); }

}  // namespace athanor
