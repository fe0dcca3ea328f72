// Runs one rank's part of a pipeline schedule on its chunks of the model.
//
// Laws
//  * Programs are those of lower(): every rank of the pipeline runs its own, from the same schedule. Messages start as
//    they stand there; an action waits for its own inputs only, so transfers go on beside the work.
//  * A chunk sees slots, not micro-batches: the number it is called with is one of [0, num_slots(chunk)), taken at F
//  and
//    free after W. Its context carries the micro-batch.
//  * Activations and their gradients between chunks are [rows, width] in the compute type; between chunks of one rank
//    they stay where they are.
//  * An overlapped pair runs its F, then its B.
//  * A rank that gives up leaves out the work that is left and sends zeros in its place, so that the others, who may
//    not know yet, end their programs too.
//  * After the first run nothing is allocated from the heap; tensors come from the arena.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "parallel/pipeline/lower.hpp"
#include "src/backend/communicator.hpp"
#include "src/model/chunk.hpp"

namespace athanor {

class PipelineRunner {
 public:
  /// The context in which a micro-batch is worked on. completes_gradients: this is the W after which the gradients of
  /// the chunk are complete (ExecContext::gradients may be told).
  using ContextOf = std::function<ExecContext(const MicroBatch&, bool completes_gradients)>;
  /// Asked before the F of each micro-batch in this rank's first chunk: whether to leave out all that follows. May be
  /// collective over ranks that run the same program.
  using GiveUp = std::function<bool()>;
  /// The shape of a micro-batch's activations between chunks: [T, D], or a rank's part of it.
  using ActivationShape = std::function<Shape(const MicroBatch&)>;

  /// @param schedule    of the whole pipeline, the same on all ranks.
  /// @param ranks       the pipeline's (Axis::pp); one for each rank of the schedule. Must outlive this.
  /// @throws ConfigError when the schedule is not valid or is made for another number of ranks.
  PipelineRunner(const PipelineSchedule& schedule, Communicator& ranks, ActivationShape activation_shape);

  /// Forward and backward of all micro-batches. Collective over the pipeline.
  /// @param chunks         by number over the whole pipeline; only those that this rank owns are looked at.
  /// @param micro_batches  as many as the schedule has, the same on all ranks of the pipeline.
  /// @returns false where this rank gave up: what was computed is worth nothing then.
  /// @throws Error when chunks or micro-batches are missing, before any message.
  bool run(const ContextOf& context_of, std::span<ModelChunk* const> chunks, std::span<const MicroBatch> micro_batches,
           const GiveUp& give_up = {});

  const PipelineSchedule& schedule() const { return schedule_; }
  /// Micro-batches that a chunk keeps at once.
  int num_slots(int chunk) const { return num_slots_[static_cast<std::size_t>(chunk)]; }
  bool owns(int chunk) const { return schedule_.chunk_rank[static_cast<std::size_t>(chunk)] == ranks_.rank(); }

 private:
  /// What waits for the F or I that takes it.
  struct Input {
    Tensor tensor;
    Communicator::Ticket ticket = kHere;
  };
  static constexpr Communicator::Ticket kHere = -1;

  struct Run {  ///< what run() was given
    const ContextOf& context_of;
    std::span<ModelChunk* const> chunks;
    std::span<const MicroBatch> micro_batches;
    const GiveUp& give_up;
  };

  void check(const Run& run) const;
  void start(const Run& run, std::span<const Message> messages);
  void execute(const Run& run, const Step& step);
  void run_forward(const Run& run, const Part& part, int slot);
  /// I, W or both.
  void run_backward(const Run& run, const Part& part, int slot, bool completes_gradients);
  Tensor take_input(const Part& part, Stream& stream);
  /// In place of the work of a rank that gave up.
  void pass_zeros(const ExecContext& ctx, const Part& part);
  bool has_taker(const Part& part) const;
  void give_output(const Part& part, Tensor tensor);

  PipelineSchedule schedule_;
  Communicator& ranks_;
  ActivationShape activation_shape_;
  RankProgram program_;
  int first_chunk_ = 0;  ///< of this rank
  bool gave_up_ = false;
  std::vector<int> num_slots_;
  PerPart<Input> inputs_;  ///< by the part that takes them, here or there
  std::vector<Communicator::P2p> batch_;
};

}  // namespace athanor
