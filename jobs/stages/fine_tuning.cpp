#include "jobs/stages/fine_tuning.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <array>
#include <cmath>
#include <memory>
#include <optional>

#include "jobs/initial_weights.hpp"
#include "jobs/sft/conversation_source.hpp"
#include "jobs/sft/fine_tuner.hpp"
#include "jobs/stages/training_run.hpp"
#include "src/base/error.hpp"
#include "src/model/parameter_count.hpp"
#include "src/task/prompt_template.hpp"
#include "src/text/chat_template.hpp"

namespace athanor {
namespace {

using Kind = FineTuningStage::Kind;

/// One run of the stage. With a teacher `loss` is the mixed one; held out, the conversations' own alone is measured.
class FineTuning final : public TrainingRun {
 public:
  FineTuning(StageContext& context, Kind kind) : TrainingRun(context), kind_(kind) {}

 private:
  void build() override {
    const SftOptions& sft = options().sft;
    tokenizer_ = load_tokenizer(options().data.tokenizer);
    if (tokenizer_->vocab_size() > options().model.vocab_size)
      throw ConfigError(fmt::format("model.vocab_size = {} is too small for data.tokenizer, which has {} tokens",
                                    options().model.vocab_size, tokenizer_->vocab_size()));
    examples_.emplace(prepare_examples(options(), context().folder, *tokenizer_, folder() / "data", context().world),
                      options().run.seed);
    held_out_ = examples_->hold_out(sft.held_out_fraction);
    total_steps_ = options().run.steps;
    if (sft.epochs > 0.0)
      total_steps_ =
          std::max<std::int64_t>(1, std::llround(std::ceil(sft.epochs * static_cast<double>(examples_->size()) /
                                                           static_cast<double>(options().data.batch_sequences))));
    tuner_ = std::make_unique<FineTuner>(env(), options(), *examples_, total_steps_);
    if (kind_ == Kind::distill && !options().distill.teacher.empty()) make_teacher();
  }

  void make_teacher() {
    const DistillOptions& distill = options().distill;
    teacher_ =
        std::make_unique<Teacher>(env(), named_checkpoint(context(), distill.teacher), options(), context().world);
    if (distill.on_policy > 0.0) {
      const ChatTemplate form(*chat_layout_of(parse_prompt_template(options().sft.layout)), *tokenizer_);
      answers_ = std::make_unique<StudentAnswers>(env(), *tuner_->trained().model, options(), form.end_id());
    }
    tuner_->set_teacher(*teacher_, answers_.get(), distill.on_policy);
  }

  std::vector<NamedShard> shards() const override { return tuner_->trained().shards(); }
  std::map<std::string, std::string> values() const override { return tuner_->values(); }
  void restore(const RunState& state) override { tuner_->restore(state.step, state.tokens, state.values); }
  std::int64_t steps_done() const override { return tuner_->steps_done(); }
  std::int64_t total_steps() const override { return total_steps_; }
  std::int64_t tokens_seen() const override { return tuner_->tokens_seen(); }

  void begin() override {
    if (kind_ == Kind::distill && context().stage.init.empty()) {
      tuner_->initialize();
      return;
    }
    load_init(tuner_->trained().weight_shards(), "fine-tuning goes on from a model that was pre-trained");
    tuner_->start_from_weights();
  }

  void describe(bool resumed) override {
    spdlog::info("{}: {} conversations ({} more held out), {} steps of {}, layout {}; {} parameters, {} ranks{}{}",
                 context().name, examples_->size(), held_out_.size(), total_steps_, options().data.batch_sequences,
                 options().sft.layout, parameter_count(options().model).total, context().world.size(),
                 teacher_ ? "; teacher " + options().distill.teacher : "",
                 resumed ? fmt::format("; goes on after step {}", steps_done()) : "");
  }

  void advance() override {
    const auto begin = Clock::now();
    const std::int64_t tokens_before = tokens_seen();
    const StepResult result = tuner_->step();
    const double seconds = seconds_since(begin);
    const double tokens_per_second = static_cast<double>(tokens_seen() - tokens_before) / seconds;
    const std::array<Scalar, 9> scalars{{{"tokens", static_cast<double>(tokens_seen())},
                                         {"loss", result.loss},
                                         {"lr", tuner_->learning_rate()},
                                         {"grad_norm", result.grad_norm},
                                         {"clipped", result.clipped ? 1.0 : 0.0},
                                         {"skipped", result.skipped ? 1.0 : 0.0},
                                         {"expert_load_max_over_mean", result.expert_load_max_over_mean},
                                         {"step_seconds", seconds},
                                         {"tokens_per_second", tokens_per_second}}};
    write_metrics(scalars);
    if (!leads() || (!progress().on_terminal() && !is_logged())) return;
    progress().show(fmt::format("{} step {}/{} loss {:.4f} grad {:.2f} lr {:.2e} {:.0f} tok/s ETA {}", context().name,
                                steps_done(), total_steps_, result.loss, result.grad_norm, tuner_->learning_rate(),
                                tokens_per_second, time_left()),
                    is_logged());
  }

  void measure(Moment) override {
    if (held_out_.empty()) return;
    const double loss = tuner_->loss_of(held_out_);
    const std::array<Scalar, 1> scalars{{{"held_out/loss", loss}}};
    write_metrics(scalars);
    context().summary["held-out loss"] = fmt::format("{:.4f}", loss);
    progress().finish();
    spdlog::info("{}: step {}: held-out {:.4f} nats a token of the answers", context().name, steps_done(), loss);
  }

  void conclude(bool complete) override {
    context().summary["conversations"] = std::to_string(examples_->size());
    context().summary["steps"] = std::to_string(steps_done());
    context().summary["tokens"] = std::to_string(tokens_seen());
    spdlog::info("{}", ending(complete));
  }

  Kind kind_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::optional<ExampleSet> examples_;
  std::vector<Example> held_out_;
  std::int64_t total_steps_ = 0;
  std::unique_ptr<FineTuner> tuner_;
  std::unique_ptr<Teacher> teacher_;
  std::unique_ptr<StudentAnswers> answers_;
};

}  // namespace

void FineTuningStage::check(const JobOptions& options) const {
  const auto tokenizer = load_tokenizer(options.data.tokenizer);
  visit_conversation_sources(options, nullptr, *tokenizer, false, [](const Conversation&) {});
}

StageStatus FineTuningStage::run(StageContext& context) { return FineTuning(context, kind_).run(); }

}  // namespace athanor
