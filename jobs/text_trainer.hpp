// Next-token training on text: a model, its optimizer and schedules and the place in the data, as one thing that takes
// a step, says its state and goes on from it. Law: everything that decides the next step is in the parameters, in
// state() or in the options; so 20 steps, a restart and 20 more are 40 steps, bit for bit, on the same layout.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/dataset/micro_batch_builder.hpp"
#include "io/dataset/mixture_dataset.hpp"
#include "io/options/job_options.hpp"
#include "jobs/trained_model.hpp"
#include "src/optim/lr_schedule.hpp"
#include "src/optim/token_schedules.hpp"
#include "src/text/tokenizer.hpp"

namespace athanor {

class TextTrainer {
 public:
  /// Makes the model with room for gradients and moments; weights are unset until initialize() or a load.
  /// `env` and `data` must outlive this. @throws ConfigError for options that do not fit together.
  TextTrainer(Environment& env, const JobOptions& options, const MixtureDataset& data, const Tokenizer& tokenizer);

  /// New weights from the seed.
  void initialize();
  /// The next step. Collective. @throws NonFiniteError on every rank.
  StepResult step();

  std::int64_t steps_done() const { return steps_done_; }
  std::int64_t tokens_seen() const { return tokens_seen_; }
  double learning_rate() const { return lr_; }  ///< of the step taken last
  std::int64_t batch_sequences() const;         ///< of the next step

  /// Tensors of a checkpoint (model, optimizer, router biases) on this rank.
  std::vector<NamedShard> shards() const { return trained_.shards(); }
  /// Model tensors alone, whole on this rank: for starting from another stage's weights.
  std::vector<NamedShard> weight_shards() const { return trained_.weight_shards(); }
  /// To be called when shards() were read: `values` as values() gave them.
  /// @throws ConfigError when the data are not those of the checkpoint.
  void restore(std::int64_t steps, std::int64_t tokens, const std::map<std::string, std::string>& values);
  /// To be called when weight_shards() were read: new moments, from the first step.
  void start_from_weights();
  /// State that is no tensor.
  std::map<std::string, std::string> values() const;

  MeshModel& model() { return *trained_.model; }
  const ParameterStore& store() const { return *trained_.store; }
  const TrainStep& train_step() const { return *trained_.step; }

 private:
  void build_micro_batches(std::int64_t sequences);

  Environment& env_;
  const MixtureDataset& data_;
  JobOptions options_;
  BatchLayout layout_;
  BatchRamp ramp_;
  std::int64_t run_tokens_;
  LrSchedule lr_schedule_;
  TrainedModel trained_;
  std::vector<std::unique_ptr<MicroBatchBuilder>> builders_;  ///< one a micro-batch of the step
  std::vector<MicroBatch> micro_batches_;
  std::int64_t steps_done_ = 0, tokens_seen_ = 0, next_sample_ = 0;
  double lr_ = 0.0;
};

}  // namespace athanor
