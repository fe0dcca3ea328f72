#include "jobs/stages/pretrain.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <array>
#include <chrono>
#include <optional>

#include "io/checkpoint/checkpoint_store.hpp"
#include "io/metrics/metrics.hpp"
#include "jobs/evaluation.hpp"
#include "jobs/initial_weights.hpp"
#include "jobs/trainer.hpp"
#include "jobs/training_data.hpp"
#include "src/base/error.hpp"
#include "src/base/stopwatch.hpp"
#include "src/model/flop_count.hpp"
#include "src/model/parameter_count.hpp"

namespace athanor {
namespace {

double resident_bytes_peak() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024.0;
}

/// One run of the stage: the objects it needs and the loop.
class Pretraining {
 public:
  explicit Pretraining(StageContext& context)
      : context_(context),
        options_(context.options),
        env_(context.environment),
        folder_(context.folder.stage(context.name)),
        leads_(context.world.rank() == 0) {}

  StageStatus run() {
    open_data();
    build();
    const bool resumed = load();
    first_step_ = trainer_->steps_done();
    if (leads_) metrics_.emplace(folder_ / "metrics.jsonl", trainer_->steps_done());
    describe(resumed);
    const StageStatus status = train();
    progress_.finish();
    return status;
  }

 private:
  void open_data() {
    if (leads_) std::filesystem::create_directories(folder_);
    data_ = open_training_data(
        options_.data, options_.run.seed, folder_ / "data", true, context_.world,
        [this](const std::string& file, const PrepareProgress& now) {
          progress_.show(fmt::format("{}: tokenising {}: {:.0f} %, {:.1f} MB/s, {} left", context_.name, file,
                                     100.0 * now.done, now.bytes_per_second * 1e-6, format_seconds(now.seconds_left)),
                         false);
        });
    progress_.finish();
  }

  void build() {
    trainer_ = std::make_unique<Trainer>(*env_.ops, *env_.mesh, options_, *data_.train, data_.tokenizer->eos_id(),
                                         data_.tokenizer->vocab_size(), *env_.compute, *env_.comm);
    store_ = std::make_unique<CheckpointStore>(folder_ / "checkpoints", context_.world, *env_.ops,
                                               CheckpointStore::Options{.keep_last = options_.run.keep_last});
    if (data_.held_out) {
      const std::int64_t share = std::max<std::int64_t>(1, options_.data.batch_sequences / env_.mesh->size(Axis::dp));
      const std::int64_t rows =
          options_.data.micro_batch_sequences > 0 ? std::min(share, options_.data.micro_batch_sequences) : share;
      evaluator_ = std::make_unique<Evaluator>(*env_.ops, trainer_->model(), *data_.held_out, trainer_->batch_layout(),
                                               rows, *env_.mesh, *env_.compute, *env_.comm);
    }
  }

  /// The stage's own latest checkpoint, else the weights `init` names, else new ones.
  bool load() {
    const auto shards = trainer_->shards();
    if (const auto state = store_->load_latest(shards, *env_.compute)) {
      trainer_->restore(state->step, state->tokens, state->values);
      return true;
    }
    if (context_.stage.init.empty()) {
      trainer_->initialize();
    } else {
      const auto weights = trainer_->weight_shards();
      load_initial_weights(context_, weights);
      trainer_->start_from_weights();
    }
    return false;
  }

  void describe(bool resumed) {
    flops_per_token_ = training_flops_per_token(options_.model, options_.data.sequence_length);
    const ParameterCount count = parameter_count(options_.model);
    const std::size_t weights = static_cast<std::size_t>(trainer_->store().numel()) * size_bytes(options_.run.dtype);
    const std::size_t gradients =
        static_cast<std::size_t>(trainer_->store().numel()) * size_bytes(accumulation_dtype(options_.run.dtype));
    spdlog::info(
        "{}: {} parameters{} in {}, {} ranks (pp {} dp {} cp {} tp {} ep {}), {:.1f} MFLOP a token; this rank holds {} "
        "parameters: {:.1f} MB weights, {:.1f} MB gradients, {:.1f} MB optimizer",
        context_.name, count.total, count.mtp > 0 ? fmt::format(" and {} of MTP modules", count.mtp) : "",
        to_string(options_.run.dtype), context_.world.size(), env_.mesh->size(Axis::pp), env_.mesh->size(Axis::dp),
        env_.mesh->size(Axis::cp), env_.mesh->size(Axis::tp), env_.mesh->size(Axis::ep), flops_per_token_ * 1e-6,
        trainer_->store().numel(), static_cast<double>(weights) * 1e-6, static_cast<double>(gradients) * 1e-6,
        static_cast<double>(trainer_->train_step().optimizer().state_bytes()) * 1e-6);
    if (resumed)
      spdlog::info("{}: goes on after step {} ({} tokens)", context_.name, trainer_->steps_done(),
                   trainer_->tokens_seen());
  }

  StageStatus train() {
    store_->prepare(trainer_->shards());
    std::int64_t saved_step = trainer_->steps_done() > 0 ? trainer_->steps_done() : -1;
    bool stopped = context_.stop.agreed(context_.world);
    while (!stopped && trainer_->steps_done() < options_.run.steps) {
      const auto begin = Clock::now();
      const StepResult result = trainer_->step();
      const double seconds = seconds_since(begin);
      training_seconds_ += seconds;
      tokens_this_run_ += result.tokens;
      const std::int64_t step = trainer_->steps_done();
      const bool last = step == options_.run.steps;
      if (evaluator_ && options_.run.eval_every > 0 && step % options_.run.eval_every == 0 && !last) evaluate();
      report(result, seconds, last);
      store_->poll();
      if (options_.run.save_every > 0 && step % options_.run.save_every == 0) {
        save();
        saved_step = step;
      }
      stopped = context_.stop.agreed(context_.world);
    }
    const bool complete = trainer_->steps_done() >= options_.run.steps;
    if (complete && evaluator_) {
      evaluate();
      report_evaluation();
    }
    if (saved_step != trainer_->steps_done()) save();
    store_->finish();
    progress_.finish();
    report_end(complete);
    return complete ? StageStatus::complete : StageStatus::interrupted;
  }

  void save() {
    RunState state;
    state.stage = context_.name;
    state.step = trainer_->steps_done();
    state.tokens = trainer_->tokens_seen();
    state.seed = options_.run.seed;
    state.values = trainer_->values();
    state.config_text = context_.config_text;
    state.layout_text = fmt::format("ranks {} dp {}", context_.world.size(), env_.mesh->size(Axis::dp));
    const auto shards = trainer_->shards();
    store_->save(state, shards, *env_.compute);
  }

  void evaluate() { evaluation_ = evaluator_->run(); }

  void report(const StepResult& result, double seconds, bool last) {
    if (!leads_) return;
    const std::int64_t step = trainer_->steps_done();
    const double tokens_per_second = static_cast<double>(result.tokens) / seconds;
    std::array<Scalar, 16> scalars{{{"tokens", static_cast<double>(trainer_->tokens_seen())},
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
    std::size_t count = 12;
    const bool evaluated =
        evaluation_.tokens > 0 && options_.run.eval_every > 0 && step % options_.run.eval_every == 0 && !last;
    if (evaluated) {
      scalars[count++] = {"held_out/loss", evaluation_.loss};
      scalars[count++] = {"held_out/perplexity", evaluation_.perplexity};
      scalars[count++] = {"held_out/bits_per_byte", evaluation_.bits_per_byte};
    }
    metrics_->write(context_.name, step, std::span(scalars).first(count));
    const bool important = step % options_.run.log_every == 0 || last || evaluated;
    if (!progress_.on_terminal() && !important) return;
    const double left = static_cast<double>(options_.run.steps - step) * training_seconds_ /
                        static_cast<double>(std::max<std::int64_t>(1, step - first_step_));
    fmt::memory_buffer line;
    fmt::format_to(std::back_inserter(line), "{} step {}/{} loss {:.4f} grad {:.2f} lr {:.2e} {:.0f} tok/s ETA {}",
                   context_.name, step, options_.run.steps, result.loss, result.grad_norm, trainer_->learning_rate(),
                   tokens_per_second, format_seconds(left));
    if (result.skipped) fmt::format_to(std::back_inserter(line), " (update skipped: outlier)");
    if (evaluated) fmt::format_to(std::back_inserter(line), " held-out {:.4f}", evaluation_.loss);
    progress_.show({line.data(), line.size()}, important);
  }

  void report_evaluation() {
    context_.summary["held-out loss"] = fmt::format("{:.4f}", evaluation_.loss);
    context_.summary["bits per byte"] = fmt::format("{:.4f}", evaluation_.bits_per_byte);
    if (!leads_) return;
    const std::array<Scalar, 3> scalars{{{"held_out/loss", evaluation_.loss},
                                         {"held_out/perplexity", evaluation_.perplexity},
                                         {"held_out/bits_per_byte", evaluation_.bits_per_byte}}};
    metrics_->write(context_.name, trainer_->steps_done(), scalars);
    progress_.finish();
    spdlog::info("{}: held-out {:.4f} nats a token (perplexity {:.3f}, {:.4f} bits a byte, {} tokens)", context_.name,
                 evaluation_.loss, evaluation_.perplexity, evaluation_.bits_per_byte, evaluation_.tokens);
  }

  void report_end(bool complete) {
    const double rate = training_seconds_ > 0.0 ? static_cast<double>(tokens_this_run_) / training_seconds_ : 0.0;
    context_.summary["steps"] = std::to_string(trainer_->steps_done());
    context_.summary["tokens"] = std::to_string(trainer_->tokens_seen());
    context_.summary["tokens/s"] = fmt::format("{:.0f}", rate);
    const MemoryStatistics& memory = env_.ops->arena().statistics();
    spdlog::info(
        "{}: {} after step {}: {:.1f} s of training here, {:.0f} tokens/s; peak memory of rank 0: {:.1f} MB in "
        "tensors, {:.1f} MB "
        "in all; the last save held training up for {:.3f} s",
        context_.name, complete ? "complete" : "stopped by " + context_.stop.reason(), trainer_->steps_done(),
        training_seconds_, rate, static_cast<double>(memory.peak_in_use_bytes) * 1e-6, resident_bytes_peak() * 1e-6,
        store_->statistics().stall_seconds);
  }

  StageContext& context_;
  const JobOptions& options_;
  Environment& env_;
  std::filesystem::path folder_;
  bool leads_;
  TrainingData data_;
  std::unique_ptr<Trainer> trainer_;
  std::unique_ptr<CheckpointStore> store_;
  std::unique_ptr<Evaluator> evaluator_;
  EvaluationResult evaluation_;
  std::optional<MetricsFile> metrics_;
  ProgressLine progress_;
  double flops_per_token_ = 0.0, training_seconds_ = 0.0;
  std::int64_t tokens_this_run_ = 0, first_step_ = 0;
};

}  // namespace

StageStatus PretrainStage::run(StageContext& context) { return Pretraining(context).run(); }

}  // namespace athanor
