#include "jobs/recipe.hpp"

#include <spdlog/spdlog.h>

#include "io/metrics/metrics.hpp"
#include "io/trace/chrome_trace.hpp"
#include "jobs/batch_job.hpp"
#include "jobs/report/report.hpp"
#include "jobs/run_tokenizer.hpp"
#include "jobs/same_run.hpp"
#include "jobs/same_start.hpp"
#include "jobs/stages/evaluate.hpp"
#include "jobs/stages/fine_tuning.hpp"
#include "jobs/stages/pretrain.hpp"
#include "jobs/stages/rejection_sampling.hpp"
#include "jobs/stages/reward_model.hpp"
#include "jobs/stages/rl.hpp"
#include "parallel/agreement.hpp"
#include "src/base/error.hpp"

namespace athanor {

std::unique_ptr<Stage> make_stage(const std::string& kind) {
  if (kind == "pretrain") return std::make_unique<PretrainStage>();
  if (kind == "sft") return std::make_unique<FineTuningStage>(FineTuningStage::Kind::sft);
  if (kind == "distill") return std::make_unique<FineTuningStage>(FineTuningStage::Kind::distill);
  if (kind == "evaluate") return std::make_unique<EvaluateStage>();
  if (kind == "rl") return std::make_unique<RlStage>();
  if (kind == "reward_model") return std::make_unique<RewardModelStage>();
  if (kind == "rejection_sampling") return std::make_unique<RejectionSamplingStage>();
  throw ConfigError("stage kind '" + kind +
                    "' is not one of pretrain, sft, reward_model, rl, rejection_sampling, distill, "
                    "evaluate");
}

namespace {

/// A page to look at is no reason for a run to end.
void report(const RunFolder& folder) {
  try {
    write_report(folder.path());
  } catch (const std::exception& error) {
    spdlog::warn("report.html is not written: {}", error.what());
  }
}

/// The stages that are not complete, in their order. Collective.
StageStatus run_stages(const Configuration& configuration, const std::string& config_text, RunFolder& folder,
                       HostGroup& world) {
  const RunOptions run = configuration.job().run;
  StopSignal::Limits limits;
  limits.time_limit = run.time_limit.seconds;
  if (run.batch_limit && world.rank() == 0) limits.batch_left = seconds_left_in_batch_job();
  if (limits.batch_left) spdlog::info("Slurm leaves {:.0f} s; the last save is placed before", *limits.batch_left);
  StopSignal stop(folder.stop_file(), limits);
  for (const std::string& changed : check_same_run(configuration, folder, world))
    spdlog::info("changed since: {}", changed);
  {
    const CollectiveLog::InPhase phase(world.log(), JobPhase::data);
    learn_run_tokenizer(configuration, folder, world);
  }
  // What a stage sees: the resolved configuration keeps the tokenizer's name, wherever the folder is moved.
  const auto options_of = [&](const std::string& name) {
    JobOptions options = configuration.job(name);
    options.data.tokenizer = tokenizer_in_run(options.data.tokenizer, folder.path());
    return options;
  };
  for (const std::string& name : configuration.stages()) {
    if (folder.is_complete(name)) continue;
    try {
      make_stage(configuration.stage(name).kind)->check(options_of(name));
    } catch (const ConfigError& error) {
      throw ConfigError("stage " + name + ": " + error.what());
    }
  }
  folder.write_text("config.resolved.cfg", config_text);
  spdlog::info("run folder {}", folder.path().string());

  for (const std::string& name : configuration.stages()) {
    if (folder.is_complete(name)) {
      spdlog::info("{}: complete, skipped", name);
      continue;
    }
    const JobOptions options = options_of(name);
    Environment environment(options, world);
    if (!environment.transport.empty())
      spdlog::info("{}: tensors travel between {} ranks by {}", name, world.size(), environment.transport);
    StageContext context{name, options, configuration.stage(name), config_text, world, environment, folder, stop, {}};
    const StageStatus status = make_stage(context.stage.kind)->run(context);
    if (status == StageStatus::complete) folder.mark_complete(name, context.summary);
    if (world.rank() == 0) report(folder);
    if (status == StageStatus::interrupted) {
      folder.end_job(JobState::Is::stopped, stop.reason());
      return status;
    }
    world.barrier();
  }
  if (CollectiveLog* log = world.log()) log->set_fault(std::nullopt);  // one that never came is a mistake
  folder.end_job(JobState::Is::complete, "");
  return StageStatus::complete;
}

}  // namespace

StageStatus run_recipe(const Configuration& configuration, const std::string& default_folder, HostGroup& world) {
  if (configuration.stages().empty())
    throw ConfigError(
        "recipe: no stage is named; a recipe has `[recipe]` with `stage = NAME` and a section `[NAME]` with `kind = "
        "pretrain`");
  // Every mistake that can be seen now is reported now, not after hours in a late stage.
  for (const std::string& name : configuration.stages()) {
    (void)make_stage(configuration.stage(name).kind);
    configuration.validate(name);
    const JobOptions options = configuration.job(name);
    options.optimizer.validate(options.data.batch_sequences);
    (void)parse_step_range(options.run.trace_step,
                           "run.trace_step (from " + configuration.origin("run.trace_step", name) + ")");
    try {
      (void)device_from_string(options.run.device);
    } catch (const ConfigError& error) {
      throw ConfigError("run.device (from " + configuration.origin("run.device", name) + "): " + error.what());
    }
  }
  const JobOptions shared = configuration.job();
  const std::string config_text = configuration.text();
  check_same_start(world, config_text);
  if (CollectiveLog* log = world.log()) log->deadlines().set(shared.parallel.deadlines);
  RunFolder folder(shared.run.folder.empty() ? default_folder : shared.run.folder, shared.run.start_over, world);
  keep_warnings(folder.path() / "warnings.log", world.rank(), world.host_name());
  try {
    return run_stages(configuration, config_text, folder, world);
  } catch (const Interrupted& stop) {
    folder.end_job(JobState::Is::stopped, stop.what());
    throw;
  } catch (const std::exception& error) {
    folder.end_job(JobState::Is::failed, error.what());
    throw;
  }
}

}  // namespace athanor
