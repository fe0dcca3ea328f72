#include "parallel/pipeline/runner.hpp"

#include <fmt/format.h>

#include <utility>

#include "src/backend/stream_span.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

/// What comes after a part: the F of the chunk behind, or the I of the chunk before.
Part taker_of(const Part& part) {
  return {part.phase, part.phase == Phase::F ? part.chunk + 1 : part.chunk - 1, part.micro_batch};
}

/// The work alone: what it waits for stands before it.
StreamSpan span_of(const Part& part, Stream& stream) {
  return {
      &stream, SpanKind::pipeline, letter(part.phase), {}, {{"chunk", part.chunk}, {"micro_batch", part.micro_batch}}};
}

LoweredSchedule lower_for(const PipelineSchedule& schedule, const Communicator& ranks) {
  if (schedule.num_ranks != ranks.size())
    throw ConfigError(fmt::format("schedule {} is made for {} ranks, the pipeline has {}; make it for parallel.pp = {}",
                                  schedule.name, schedule.num_ranks, ranks.size(), ranks.size()));
  return lower(schedule);
}

}  // namespace

PipelineRunner::PipelineRunner(const PipelineSchedule& schedule, Communicator& ranks, ActivationShape activation_shape)
    : schedule_(schedule), ranks_(ranks), activation_shape_(std::move(activation_shape)), inputs_(schedule, Input{}) {
  LoweredSchedule lowered = lower_for(schedule, ranks);
  program_ = std::move(lowered.ranks[static_cast<std::size_t>(ranks.rank())]);
  num_slots_ = std::move(lowered.num_slots);
  while (first_chunk_ + 1 < schedule_.num_chunks && !owns(first_chunk_)) ++first_chunk_;
}

void PipelineRunner::check(const Run& run) const {
  if (run.micro_batches.size() != static_cast<std::size_t>(schedule_.num_micro_batches))
    throw Error(fmt::format("pipeline: schedule {} is made for {} micro-batches, {} were given", schedule_.name,
                            schedule_.num_micro_batches, run.micro_batches.size()));
  if (run.chunks.size() != static_cast<std::size_t>(schedule_.num_chunks))
    throw Error(fmt::format("pipeline: schedule {} has {} chunks, {} were given (null where another rank owns them)",
                            schedule_.name, schedule_.num_chunks, run.chunks.size()));
  for (int chunk = 0; chunk < schedule_.num_chunks; ++chunk)
    if (owns(chunk) && run.chunks[static_cast<std::size_t>(chunk)] == nullptr)
      throw Error(fmt::format("pipeline: schedule {} places chunk {} on rank {}, which was given none", schedule_.name,
                              chunk, ranks_.rank()));
}

bool PipelineRunner::run(const ContextOf& context_of, std::span<ModelChunk* const> chunks,
                         std::span<const MicroBatch> micro_batches, const GiveUp& give_up) {
  const Run run{context_of, chunks, micro_batches, give_up};
  check(run);
  gave_up_ = false;
  for (const Step& step : program_.steps) {
    start(run, step.messages);
    execute(run, step);
  }
  start(run, program_.last_messages);
  ranks_.finish_sends(context_of(micro_batches.front(), false).compute);
  return !gave_up_;
}

void PipelineRunner::start(const Run& run, std::span<const Message> messages) {
  if (messages.empty()) return;
  const ExecContext ctx =
      run.context_of(run.micro_batches[static_cast<std::size_t>(messages[0].taker.micro_batch)], false);
  batch_.clear();
  for (const Message& message : messages) {
    Input& input = inputs_[message.taker];
    if (message.kind == Message::Kind::send) {
      batch_.push_back({Communicator::P2p::Kind::send, std::exchange(input.tensor, Tensor{}), message.peer});
    } else {
      input.tensor =
          ctx.empty(activation_shape_(run.micro_batches[static_cast<std::size_t>(message.taker.micro_batch)]));
      batch_.push_back({Communicator::P2p::Kind::recv, input.tensor, message.peer});
    }
  }
  const Communicator::Ticket first = ranks_.start_exchange(batch_, ctx.compute);
  batch_.clear();
  for (std::size_t i = 0; i < messages.size(); ++i)
    if (messages[i].kind == Message::Kind::receive)
      inputs_[messages[i].taker].ticket = first + static_cast<Communicator::Ticket>(i);
}

void PipelineRunner::execute(const Run& run, const Step& step) {
  const Action& action = step.action;
  switch (action.phase) {
    case Phase::F:
      run_forward(run, {Phase::F, action.chunk, action.micro_batch}, step.slot);
      break;
    case Phase::FB:
      run_forward(run, {Phase::F, action.chunk, action.micro_batch}, step.slot);
      run_backward(run, {Phase::B, action.chunk_b, action.micro_batch_b}, step.slot_b, step.completes_gradients);
      break;
    default:
      run_backward(run, {action.phase, action.chunk, action.micro_batch}, step.slot, step.completes_gradients);
      break;
  }
}

void PipelineRunner::run_forward(const Run& run, const Part& part, int slot) {
  ExecContext ctx = run.context_of(run.micro_batches[static_cast<std::size_t>(part.micro_batch)], false);
  ModelChunk& chunk = *run.chunks[static_cast<std::size_t>(part.chunk)];
  const Tensor x = take_input(part, ctx.compute);
  if (run.give_up && !gave_up_ && part.chunk == first_chunk_) gave_up_ = run.give_up();
  if (gave_up_) return pass_zeros(ctx, part);
  const StreamSpan span = span_of(part, ctx.compute);
  give_output(part, chunk.forward(ctx, slot, x));
}

void PipelineRunner::run_backward(const Run& run, const Part& part, int slot, bool completes_gradients) {
  ExecContext ctx = run.context_of(run.micro_batches[static_cast<std::size_t>(part.micro_batch)],
                                   part.phase != Phase::I && completes_gradients);
  ModelChunk& chunk = *run.chunks[static_cast<std::size_t>(part.chunk)];
  const Part input{Phase::I, part.chunk, part.micro_batch};
  Tensor dy = part.phase == Phase::W ? Tensor{} : take_input(input, ctx.compute);
  if (gave_up_) {
    if (part.phase != Phase::W) pass_zeros(ctx, input);
    return;
  }
  const StreamSpan span = span_of(part, ctx.compute);
  if (part.phase == Phase::W)
    chunk.backward_weight(ctx, slot);
  else if (part.phase == Phase::I)
    give_output(input, chunk.backward_input(ctx, slot, dy));
  else
    give_output(input, chunk.backward(ctx, slot, std::move(dy)));
}

/// Undefined for F of the first and I of the last chunk.
Tensor PipelineRunner::take_input(const Part& part, Stream& stream) {
  Input& input = inputs_[part];
  if (input.ticket != kHere) ranks_.finish_receive(std::exchange(input.ticket, kHere), stream);
  return std::exchange(input.tensor, Tensor{});
}

void PipelineRunner::pass_zeros(const ExecContext& ctx, const Part& part) {
  if (!has_taker(part)) return;
  const Tensor zeros = ctx.empty(activation_shape_(ctx.batch));
  ctx.ops.fill(zeros, 0.0, ctx.compute);
  give_output(part, zeros);
}

bool PipelineRunner::has_taker(const Part& part) const {
  const int chunk = taker_of(part).chunk;
  return chunk >= 0 && chunk < schedule_.num_chunks;
}

void PipelineRunner::give_output(const Part& part, Tensor tensor) {
  if (!has_taker(part)) return;
  const Part taker = taker_of(part);
  if (!tensor.defined())
    throw Error(fmt::format("pipeline: {} gave no tensor, and {} waits for one", to_words(part), to_words(taker)));
  inputs_[taker].tensor = std::move(tensor);
}

}  // namespace athanor
