// What every stage that trains has in common: its folder, its checkpoints, its metrics, and the loop over its steps.
// Laws
//  * It goes on from its own latest checkpoint; else from the weights that `init` names; else from new ones.
//  * Between two calls of advance() everything that decides what follows is in shards(), values() and the options: a
//  run
//    that is stopped there and restarted has the same bits.
//  * All ranks take the same decisions; rank 0 writes and speaks.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/checkpoint/checkpoint_store.hpp"
#include "io/metrics/metrics.hpp"
#include "jobs/stage.hpp"
#include "jobs/stages/step_times.hpp"
#include "jobs/stages/step_trace.hpp"
#include "src/base/stopwatch.hpp"

namespace athanor {

class TrainingRun {
 public:
  explicit TrainingRun(StageContext& context);
  virtual ~TrainingRun() = default;
  TrainingRun(const TrainingRun&) = delete;
  TrainingRun& operator=(const TrainingRun&) = delete;

  /// Collective over the world.
  StageStatus run();

 protected:
  // What a kind of stage says. All are collective but the const ones.

  /// Makes data, model and what measures it; the folder is there.
  virtual void build() = 0;
  virtual std::vector<NamedShard> shards() const = 0;
  /// State that is no tensor.
  virtual std::map<std::string, std::string> values() const = 0;
  /// Called when shards() were read.
  virtual void restore(const RunState& state) = 0;
  /// Weights where there is no checkpoint: those of context().stage.init, or new ones.
  virtual void begin() = 0;

  virtual std::int64_t steps_done() const = 0;
  virtual std::int64_t total_steps() const { return options_.run.steps; }
  virtual std::int64_t tokens_seen() const { return 0; }

  /// Tells the log what is about to be trained.
  virtual void describe(bool resumed) = 0;
  /// One or more steps, to the next place where a checkpoint may be; reports them.
  virtual void advance() = 0;
  /// Measures the model as it is: before the first step, between two, after the last.
  enum class Moment : std::uint8_t { before, between, after };
  virtual void measure(Moment moment) = 0;
  /// What is done once, after the last step and before the last checkpoint.
  virtual void finish() {}
  /// After the end or a stop: fills context().summary, tells the log.
  virtual void conclude(bool complete) = 0;

  // What it has for that.

  StageContext& context() { return context_; }
  const JobOptions& options() const { return options_; }
  Environment& env() { return env_; }
  const std::filesystem::path& folder() const { return folder_; }
  bool leads() const { return leads_; }  ///< rank 0
  ProgressLine& progress() { return progress_; }
  /// Writes a line of metrics.jsonl (on rank 0).
  void write_metrics(std::span<const Scalar> scalars);
  /// Markdown to read beside the metrics, for TensorBoard alone (on rank 0).
  void write_text(std::int64_t step, std::string_view tag, std::string_view text);
  /// Whether the step just done is one the batch log shows.
  bool is_logged() const;
  std::string time_left() const;
  double seconds_here() const { return seconds_since(began_); }
  /// What the log says at the end: "complete" or "stopped by SIGTERM", after which step, how long.
  std::string ending(bool complete) const;
  double save_stall_seconds() const { return store_->statistics().stall_seconds; }
  /// For measure(): whether to stop is agreed here. Collective. @throws Interrupted
  void require_no_stop();
  /// Reads weight_shards() from what `init` names. @throws ConfigError where it names nothing; `why` ends the sentence.
  void load_init(std::span<const NamedShard> weight_shards, const std::string& why);

 private:
  bool load();
  StageStatus loop();
  /// Does one advance(); where that is interrupted, the run is as before it.
  void step_once();
  /// measure(); false when it was interrupted.
  bool measured(Moment moment);
  void save();
  void poll_save();
  void finish_save();

  StageContext& context_;
  const JobOptions& options_;
  Environment& env_;
  std::filesystem::path folder_;
  bool leads_;
  StepTrace trace_;  ///< before the store, whose thread it watches
  std::unique_ptr<CheckpointStore> store_;
  std::optional<MetricsFile> metrics_;
  ProgressLine progress_;
  Clock::time_point began_{};
  std::int64_t first_step_ = 0;
  StepTimes step_times_;
  /// values() where the last advance() began, which may be interrupted after it changed them.
  std::map<std::string, std::string> values_before_;
  bool interrupted_ = false;
};

}  // namespace athanor
