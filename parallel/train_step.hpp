// One optimizer step of the model on all ranks: micro-batches, reduction, the checks, the update, the router biases.
// Laws
//  * Losses are weighted by the tokens of the global batch, so gradients and losses ADD UP over ranks and
//    micro-batches. Where several ranks hold the same number (losses along tp, the balance loss along tp and cp), the
//    first of them counts.
//  * What decides (loss, norm, expert counts) is summed in f64 or integers in rank order and read once a step; every
//    rank decides alike. Nothing is updated when a loss or the norm is not finite: all ranks throw NonFiniteError.
//  * Expert counts cover the whole global batch; biases move once a step (DeepSeek-V3 report section 2.1.2).
//  * Asked to give up, it does so before the next micro-batch, on all ranks: it throws, and model and optimizer are as
//    before the step. Where ranks of a layer have different numbers of micro-batches the step is ended instead.
//  * The order of the work is a PipelineSchedule, also on one rank.
//  * After the first step nothing is allocated from the heap.
// Every function but state() and shards() is collective.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "parallel/data/grad_reducer.hpp"
#include "parallel/data/zero_optimizer.hpp"
#include "parallel/pipeline/runner.hpp"
#include "parallel/pipeline/schedule_plan.hpp"
#include "parallel/process_mesh.hpp"
#include "src/model/chunk.hpp"
#include "src/optim/loss_spike_guard.hpp"
#include "src/optim/optimizer_options.hpp"

namespace athanor {

/// What the schedules say for a step.
struct StepPlan {
  std::int64_t step = 1;  ///< for messages
  double lr = 0.0;
  double bias_speed = 0.0;
};

/// The same on every rank.
struct StepResult {
  double loss = 0.0;          ///< nats a token, mean over the global batch
  double token_loss = 0.0;    ///< weighted cross entropy alone: where a policy is trained, that of text beside it
  double mtp_loss = 0.0;      ///< weighted by lambda / depth
  double balance_loss = 0.0;  ///< summed over layers
  double grad_norm = 0.0;     ///< before clipping
  bool clipped = false, skipped = false;
  std::array<double, kNumPolicySums> policy{};  ///< of a policy update, by PolicySum, over the global batch
  std::array<double, kNumScalarSums> scalar{};  ///< of a scalar head, by PreferenceSum or ValueSum, likewise
  double expert_load_max_over_mean = 0.0;       ///< of the worst layer; 0 without experts
  std::int64_t tokens = 0;                      ///< of the global batch
};

class TrainStep {
 public:
  /// Says which layer or parameter stopped being a number in this micro-batch; empty when none did.
  using Diagnose = std::function<std::string(ExecContext&)>;

  /// Everything passed must outlive this. `store` holds the parameters of this rank's chunks with gradients and buckets
  /// padded to ReductionRanks::bucket_pad. @throws ConfigError when the mesh or the options are impossible.
  /// @param chunks    by number over the whole pipeline, null where another rank owns them.
  /// @param model_dim D of the activations [T/tp, D] that travel between chunks.
  TrainStep(Backend& ops, std::vector<ModelChunk*> chunks, ParameterStore& store, ProcessMesh& mesh,
            const OptimizerOptions& options, DType dtype, Stream& compute, Stream& comm,
            const SchedulePlan& schedule = {}, std::int64_t model_dim = 0, Recompute recompute = Recompute::none);

  void set_diagnose(Diagnose diagnose) { diagnose_ = std::move(diagnose); }

  /// Begins anew from the present weights: no moments, no updates, no history.
  void start();
  /// @param micro_batches  of this rank: as many as the other ranks of its pipeline have, and as those that share its
  /// experts; else ranks may have different numbers of them.
  /// @param give_up  whether this rank wants to stop; asked before each micro-batch.
  /// @throws NonFiniteError on every rank, naming step, ranks and layers, before anything is updated.
  /// @throws Interrupted on every rank where one gave up; then no further step may be run.
  StepResult run(const StepPlan& plan, std::span<const MicroBatch> micro_batches,
                 const std::function<bool()>& give_up = {});

  /// All that a checkpoint holds of model and optimizer here: read and written by every rank on its own.
  std::vector<NamedShard> shards() const;
  /// To be called once shards() were read: makes the weights whole.
  void after_load();
  /// What is no tensor: the number of updates and the spike guard's window, exact.
  std::string state() const;
  /// @throws DataError when the text is no such state.
  void restore(const std::string& state);

  std::int64_t num_updates() const { return num_updates_; }
  const ZeroOptimizer& optimizer() const { return optimizer_; }

 private:
  /// The numbers that are read and summed once a step.
  enum Number : std::size_t {
    kLoss,
    kMtpLoss,
    kBalanceLoss,
    kSquaredNorm,
    kPolicy,
    kScalar = kPolicy + kNumPolicySums,
    kNumNumbers = kScalar + kNumScalarSums
  };

  /// Starts the reduction of a bucket when its last gradient is complete, beside what is left of the backward.
  struct ReduceWhenReady final : GradientListener {
    explicit ReduceWhenReady(TrainStep& step) : step(step) {}
    void gradient_ready(Parameter& parameter) override {
      step.reducer_.mark_ready(parameter, step.compute_, step.comm_);
    }
    TrainStep& step;
  };
  void run_micro_batches(std::span<const MicroBatch> micro_batches, const std::function<bool()>& give_up);
  PipelineRunner& runner_for(std::size_t num_micro_batches);
  void read_sums(std::int64_t step, std::int64_t own_tokens);
  double worst_expert_load();
  void update_router_biases(double speed);
  [[noreturn]] void report_nonfinite(std::int64_t step, std::span<const MicroBatch> micro_batches,
                                     std::span<const double> own);
  bool own_gradient_is_finite();
  std::string first_bad_layer(std::span<const MicroBatch> micro_batches);
  std::span<std::int64_t> layer_counts(std::size_t layer) {
    return std::span(integers_).subspan(1 + layer * num_experts_, num_experts_);
  }

  Backend& ops_;
  std::vector<ModelChunk*> chunks_;      ///< by number over the pipeline
  std::vector<ModelChunk*> own_chunks_;  ///< those of this rank
  ParameterStore& store_;
  ProcessMesh& mesh_;
  OptimizerOptions options_;
  DType dtype_;
  Stream& compute_;
  Stream& comm_;

  std::vector<OwnedSlice> slices_;
  GradReducer reducer_;
  ZeroOptimizer optimizer_;
  LossSpikeGuard guard_;
  Diagnose diagnose_;
  SchedulePlan schedule_;
  std::int64_t model_dim_;
  Recompute recompute_;
  ReduceWhenReady reduce_when_ready_{*this};
  std::map<std::size_t, PipelineRunner> runners_;  ///< by number of micro-batches
  std::int64_t num_updates_ = 0;

  std::vector<StateTensor*> biases_;  ///< of all chunks, paired with counts_E_
  std::vector<Tensor> counts_E_;      ///< i64, as in StepSums
  std::size_t num_experts_ = 0;
  Tensor squared_norm_1_;
  std::vector<double> numbers_;         ///< by Number
  std::vector<std::int64_t> integers_;  ///< tokens, then expert counts layer by layer
};

}  // namespace athanor
