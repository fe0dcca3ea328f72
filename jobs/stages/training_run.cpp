#include "jobs/stages/training_run.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "jobs/initial_weights.hpp"
#include "parallel/agreement.hpp"
#include "src/base/error.hpp"

namespace athanor {

TrainingRun::TrainingRun(StageContext& context)
    : context_(context),
      options_(context.options),
      env_(context.environment),
      folder_(context.folder.stage(context.name)),
      leads_(context.world.rank() == 0),
      trace_(options_.run.trace_step, folder_, env_, context.world),
      step_times_(context.world.log()) {}

StageStatus TrainingRun::run() {
  if (leads_) std::filesystem::create_directories(folder_);
  {
    const CollectiveLog::InPhase phase(context_.world.log(), JobPhase::data);
    build();
  }
  progress_.finish();
  store_ = std::make_unique<CheckpointStore>(folder_ / "checkpoints", context_.world, *env_.ops,
                                             CheckpointStore::Options{.keep_last = options_.run.keep_last});
  const bool resumed = load();
  first_step_ = steps_done();
  if (leads_) metrics_.emplace(folder_ / "metrics.jsonl", first_step_, context_.event_folder());
  if (leads_) write_stage_goal(folder_, {total_steps(), "steps"});
  describe(resumed);
  const StageStatus status = loop();
  progress_.finish();
  return status;
}

bool TrainingRun::load() {
  const CollectiveLog::InPhase phase(context_.world.log(), JobPhase::loading);
  if (const auto state = store_->load_latest(shards(), *env_.compute)) {
    restore(*state);
    return true;
  }
  begin();
  return false;
}

void TrainingRun::load_init(std::span<const NamedShard> weight_shards, const std::string& why) {
  if (context_.stage.init.empty())
    throw ConfigError("stage " + context_.name + ": `init` names no weights; " + why +
                      ": give the name of an earlier stage, or a checkpoint folder");
  load_initial_weights(context_, weight_shards);
}

void TrainingRun::require_no_stop() {
  if (context_.stop.agreed(context_.world))
    throw Interrupted("stopped by " + context_.stop.reason() + ": a measurement is given up");
}

bool TrainingRun::measured(Moment moment) {
  const CollectiveLog::InPhase phase(context_.world.log(), JobPhase::evaluation);
  const Span span(SpanKind::step, "measure");
  try {
    measure(moment);
  } catch (const Interrupted&) {
    return false;
  }
  return true;
}

void TrainingRun::step_once() {
  const CollectiveLog::InPhase phase(context_.world.log(), JobPhase::step);
  step_times_.begin();
  const std::int64_t before = steps_done();
  values_before_ = values();
  try {
    advance();
  } catch (const Interrupted&) {
    if (steps_done() != before) throw;
    interrupted_ = true;
    return;
  }
  step_times_.end(steps_done() - before);
  if (steps_done() / options_.run.log_every == before / options_.run.log_every) return;
  const auto straggler = step_times_.report(context_.world, options_.run.straggler_factor);
  if (!straggler || !leads_) return;
  write_metrics(straggler->scalars());
  progress_.finish();
  spdlog::warn("{}: step {}: {}", context_.name, steps_done(), to_string(*straggler));
}

StageStatus TrainingRun::loop() {
  store_->prepare(shards());
  began_ = Clock::now();
  std::int64_t saved_step = first_step_ > 0 ? first_step_ : -1;
  bool stopped = context_.stop.agreed(context_.world);
  if (!stopped && first_step_ == 0) stopped = !measured(Moment::before);
  while (!stopped && steps_done() < total_steps()) {
    const std::int64_t before = steps_done();
    trace_.before(before + 1);
    step_once();
    if (interrupted_) break;
    poll_save();
    const std::int64_t step = steps_done();
    // advance() may take several steps at once.
    const auto crossed = [&](std::int64_t every) { return every > 0 && before / every != step / every; };
    if (crossed(options_.run.eval_every) && step < total_steps()) stopped = !measured(Moment::between);
    if (crossed(options_.run.save_every) && step < total_steps()) {
      save();
      saved_step = step;
    }
    trace_.after(step);
    stopped = stopped || context_.stop.agreed(context_.world);
  }
  bool complete = steps_done() >= total_steps();
  if (complete) complete = measured(Moment::after);
  if (complete) {
    // A checkpoint of the last step was made behind finish().
    if (first_step_ < total_steps()) finish();
  }
  if (saved_step != steps_done()) save();
  finish_save();
  trace_.finish(steps_done());
  progress_.finish();
  conclude(complete);
  return complete ? StageStatus::complete : StageStatus::interrupted;
}

void TrainingRun::poll_save() {
  const CollectiveLog::InPhase phase(context_.world.log(), JobPhase::saving);
  store_->poll();
  context_.stop.note_save(store_->statistics().save_seconds);
}

void TrainingRun::finish_save() {
  const CollectiveLog::InPhase phase(context_.world.log(), JobPhase::saving);
  store_->finish();
}

void TrainingRun::save() {
  const CollectiveLog::InPhase phase(context_.world.log(), JobPhase::saving);
  // What the last step left running may have failed on the way.
  env_.compute->synchronize();
  env_.comm->synchronize();
  env_.mesh->require_healthy();
  RunState state;
  state.stage = context_.name;
  state.step = steps_done();
  state.tokens = tokens_seen();
  state.seed = options_.run.seed;
  state.values = interrupted_ ? values_before_ : values();
  state.config_text = context_.config_text;
  const ProcessMesh& mesh = *env_.mesh;
  state.layout_text = fmt::format("ranks {} pp {} dp {} cp {} tp {} ep {}", context_.world.size(), mesh.size(Axis::pp),
                                  mesh.size(Axis::dp), mesh.size(Axis::cp), mesh.size(Axis::tp), mesh.size(Axis::ep));
  store_->save(state, shards(), *env_.compute);
}

void TrainingRun::write_text(std::int64_t step, std::string_view tag, std::string_view text) {
  if (metrics_) metrics_->write_text(step, tag, text);
}

void TrainingRun::write_metrics(std::span<const Scalar> scalars) {
  if (metrics_) metrics_->write(context_.name, steps_done(), scalars);
}

bool TrainingRun::is_logged() const {
  return steps_done() % options_.run.log_every == 0 || steps_done() == total_steps();
}

std::string TrainingRun::time_left() const {
  const auto done = static_cast<double>(std::max<std::int64_t>(1, steps_done() - first_step_));
  return format_seconds(static_cast<double>(total_steps() - steps_done()) * seconds_since(began_) / done);
}

std::string TrainingRun::ending(bool complete) const {
  return fmt::format("{}: {} after step {}: {:.1f} s here", context_.name,
                     complete ? "complete" : "stopped by " + context_.stop.reason(), steps_done(),
                     seconds_since(began_));
}

}  // namespace athanor
