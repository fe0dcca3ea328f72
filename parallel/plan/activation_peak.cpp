#include "parallel/plan/activation_peak.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "parallel/pipeline/lower.hpp"
#include "parallel/pipeline/validate.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

class Walk {
 public:
  explicit Walk(std::span<const ActivationMemory> chunks) : chunks_(chunks) {}

  void messages(const std::vector<Message>& batch) {
    if (batch.empty()) return;
    alive_ -= leaving_;
    leaving_ = 0;
    for (const Message& message : batch) {
      const std::int64_t bytes = at(message.taker.chunk).message;
      if (message.kind == Message::Kind::receive)
        alive_ += bytes;
      else
        leaving_ += bytes;
    }
    rest();
  }

  void action(const Action& action) {
    const bool pair = action.phase == Phase::FB;
    if (pair || action.phase == Phase::F) forward(action.chunk);
    if (pair) backward(Phase::B, action.chunk_b);
    if (!pair && action.phase != Phase::F) backward(action.phase, action.chunk);
    rest();
  }

  std::int64_t at_rest() const { return at_rest_; }
  std::int64_t highest() const { return highest_; }

 private:
  const ActivationMemory& at(int chunk) const { return chunks_[static_cast<std::size_t>(chunk)]; }
  bool is_first(int chunk) const { return chunk == 0; }
  bool is_last(int chunk) const { return static_cast<std::size_t>(chunk) + 1 == chunks_.size(); }
  void rest() {
    at_rest_ = std::max(at_rest_, alive_);
    highest_ = std::max(highest_, alive_);
  }
  void works_with(std::int64_t bytes) { highest_ = std::max(highest_, alive_ + bytes); }

  // What waits for an action becomes part of what it holds; what it makes waits for the next.
  void forward(int chunk) {
    const ActivationMemory& memory = at(chunk);
    if (!is_first(chunk)) alive_ -= memory.message;
    works_with(memory.forward_highest);
    alive_ += memory.forward_kept + (is_last(chunk) ? 0 : memory.message);
  }
  void backward(Phase phase, int chunk) {
    const ActivationMemory& memory = at(chunk);
    if (phase == Phase::W) {
      alive_ -= memory.weight_kept;
      return;
    }
    alive_ -= memory.forward_kept + (is_last(chunk) ? 0 : memory.message);
    works_with(phase == Phase::B ? memory.fused_highest : memory.backward_highest);
    alive_ += (phase == Phase::B ? 0 : memory.weight_kept) + (is_first(chunk) ? 0 : memory.message);
  }

  std::span<const ActivationMemory> chunks_;
  std::int64_t alive_ = 0, leaving_ = 0;  ///< leaving: of those alive
  std::int64_t at_rest_ = 0, highest_ = 0;
};

}  // namespace

std::vector<ActivationPeak> activation_peaks(const PipelineSchedule& schedule,
                                             std::span<const ActivationMemory> chunks) {
  if (chunks.size() != static_cast<std::size_t>(schedule.num_chunks))
    throw Error(fmt::format("activation peaks: schedule {} has {} chunks, {} were described", schedule.name,
                            schedule.num_chunks, chunks.size()));
  const LoweredSchedule lowered = lower(schedule);
  const std::vector<int> in_flight = peak_activations(schedule);
  std::vector<ActivationPeak> peaks;
  for (std::size_t rank = 0; rank < lowered.ranks.size(); ++rank) {
    Walk walk(chunks);
    for (const Step& step : lowered.ranks[rank].steps) {
      walk.messages(step.messages);
      walk.action(step.action);
    }
    peaks.push_back({in_flight[rank], walk.at_rest(), walk.highest()});
  }
  return peaks;
}

}  // namespace athanor
