#include "jobs/stages/pretrain.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <array>
#include "jobs/evaluation.hpp"
#include "jobs/stages/training_run.hpp"
#include "jobs/text_trainer.hpp"
#include "jobs/training_data.hpp"
#include "src/model/flop_count.hpp"
#include "src/model/parameter_count.hpp"

namespace athanor {
namespace {

double resident_bytes_peak() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024.0;
}

class Pretraining final : public TrainingRun {
 public:
  using TrainingRun::TrainingRun;

 private:
  void build() override {
    open_data();
    trainer_ = std::make_unique<TextTrainer>(env(), options(), *data_.train, *data_.tokenizer);
    if (!data_.held_out) return;
    evaluator_ =
        std::make_unique<Evaluator>(env(), trainer_->model(), *data_.held_out, options(), data_.tokenizer->eos_id());
  }

  std::vector<NamedShard> shards() const override { return trainer_->shards(); }
  std::map<std::string, std::string> values() const override { return trainer_->values(); }
  void restore(const RunState& state) override { trainer_->restore(state.step, state.tokens, state.values); }
  std::int64_t steps_done() const override { return trainer_->steps_done(); }
  std::int64_t tokens_seen() const override { return trainer_->tokens_seen(); }

  void begin() override {
    if (context().stage.init.empty()) {
      trainer_->initialize();
      return;
    }
    load_init(trainer_->weight_shards(), "");
    trainer_->start_from_weights();
  }

  void open_data() {
    data_ = open_training_data(
        options().data, options().run.seed, folder() / "data", true, context().world,
        [this](const std::string& file, const PrepareProgress& now) {
          progress().show(fmt::format("{}: tokenising {}: {:.0f} %, {:.1f} MB/s, {} left", context().name, file,
                                      100.0 * now.done, now.bytes_per_second * 1e-6, format_seconds(now.seconds_left)),
                          false);
          StopSignal::require_not_asked("tokenising " + file);
        });
    progress().finish();
  }

  void describe(bool resumed) override {
    flops_per_token_ = training_flops_per_token(options().model, options().data.sequence_length);
    const ParameterCount count = parameter_count(options().model);
    const std::size_t weights = static_cast<std::size_t>(trainer_->store().numel()) * size_bytes(options().run.dtype);
    const std::size_t gradients =
        static_cast<std::size_t>(trainer_->store().numel()) * size_bytes(accumulation_dtype(options().run.dtype));
    spdlog::info(
        "{}: {} parameters{} in {}, {} ranks (pp {} dp {} cp {} tp {} ep {}), {:.1f} MFLOP a token; this rank holds {} "
        "parameters: {:.1f} MB weights, {:.1f} MB gradients, {:.1f} MB optimizer",
        context().name, count.total, count.mtp > 0 ? fmt::format(" and {} of MTP modules", count.mtp) : "",
        to_string(options().run.dtype), context().world.size(), env().mesh->size(Axis::pp), env().mesh->size(Axis::dp),
        env().mesh->size(Axis::cp), env().mesh->size(Axis::tp), env().mesh->size(Axis::ep), flops_per_token_ * 1e-6,
        trainer_->store().numel(), static_cast<double>(weights) * 1e-6, static_cast<double>(gradients) * 1e-6,
        static_cast<double>(trainer_->train_step().optimizer().state_bytes()) * 1e-6);
    if (resumed)
      spdlog::info("{}: goes on after step {} ({} tokens)", context().name, trainer_->steps_done(),
                   trainer_->tokens_seen());
  }

  void advance() override {
    const auto begin = Clock::now();
    const StepResult result = trainer_->step();
    const double seconds = seconds_since(begin);
    training_seconds_ += seconds;
    tokens_here_ += result.tokens;
    report(result, seconds);
  }

  void report(const StepResult& result, double seconds) {
    const double tokens_per_second = static_cast<double>(result.tokens) / seconds;
    const std::array<Scalar, 12> scalars{{{"tokens", static_cast<double>(trainer_->tokens_seen())},
                                          {"loss", result.loss},
                                          {"mtp_loss", result.mtp_loss},
                                          {"balance_loss", result.balance_loss},
                                          {"lr", trainer_->learning_rate()},
                                          {"grad_norm", result.grad_norm},
                                          {"clipped", result.clipped ? 1.0 : 0.0},
                                          {"skipped", result.skipped ? 1.0 : 0.0},
                                          {"expert_load_max_over_mean", result.expert_load_max_over_mean},
                                          {"step_seconds", seconds},
                                          {"tokens_per_second", tokens_per_second},
                                          {"model_flops_per_second", tokens_per_second * flops_per_token_}}};
    write_metrics(scalars);
    if (!leads() || (!progress().on_terminal() && !is_logged())) return;
    fmt::memory_buffer line;
    fmt::format_to(std::back_inserter(line), "{} step {}/{} loss {:.4f} grad {:.2f} lr {:.2e} {:.0f} tok/s ETA {}",
                   context().name, steps_done(), total_steps(), result.loss, result.grad_norm,
                   trainer_->learning_rate(), tokens_per_second, time_left());
    if (result.skipped) fmt::format_to(std::back_inserter(line), " (update skipped: outlier)");
    progress().show({line.data(), line.size()}, is_logged());
  }

  void measure(Moment moment) override {
    if (!evaluator_ || moment == Moment::before) return;
    const EvaluationResult held_out = evaluator_->run([this] { require_no_stop(); });
    const std::array<Scalar, 3> scalars{{{"held_out/loss", held_out.loss},
                                         {"held_out/perplexity", held_out.perplexity},
                                         {"held_out/bits_per_byte", held_out.bits_per_byte}}};
    write_metrics(scalars);
    context().summary["held-out loss"] = fmt::format("{:.4f}", held_out.loss);
    context().summary["bits per byte"] = fmt::format("{:.4f}", held_out.bits_per_byte);
    progress().finish();
    spdlog::info("{}: step {}: held-out {:.4f} nats a token (perplexity {:.3f}, {:.4f} bits a byte, {} tokens)",
                 context().name, steps_done(), held_out.loss, held_out.perplexity, held_out.bits_per_byte,
                 held_out.tokens);
  }

  void conclude(bool complete) override {
    const double rate = training_seconds_ > 0.0 ? static_cast<double>(tokens_here_) / training_seconds_ : 0.0;
    context().summary["steps"] = std::to_string(trainer_->steps_done());
    context().summary["tokens"] = std::to_string(trainer_->tokens_seen());
    if (tokens_here_ > 0) context().summary["tokens/s"] = fmt::format("{:.0f}", rate);  // else what it was
    const MemoryStatistics& memory = env().ops->arena().statistics();
    spdlog::info(
        "{}, {:.0f} tokens/s; peak memory of rank 0: {:.1f} MB in tensors, {:.1f} MB in all; the last save held "
        "training up for {:.3f} s",
        ending(complete), rate, static_cast<double>(memory.peak_in_use_bytes) * 1e-6, resident_bytes_peak() * 1e-6,
        save_stall_seconds());
  }

  TrainingData data_;
  std::unique_ptr<TextTrainer> trainer_;
  std::unique_ptr<Evaluator> evaluator_;
  double flops_per_token_ = 0.0, training_seconds_ = 0.0;
  std::int64_t tokens_here_ = 0;
};

}  // namespace

StageStatus PretrainStage::run(StageContext& context) { return Pretraining(context).run(); }

}  // namespace athanor
