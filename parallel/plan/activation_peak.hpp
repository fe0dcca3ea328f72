// The most activations that each rank of a pipeline holds at once, from the schedule itself.
// Law: the programs of lower() are walked action by action, with what each F, I, W and B of a chunk holds
// (src/model/activation_memory) and what waits between ranks: a received tensor from its post to its action, a sent one
// from its making until the rank's next messages, when the transport gives back what has gone.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "parallel/pipeline/schedule.hpp"
#include "src/model/activation_memory.hpp"

namespace athanor {

struct ActivationPeak {
  int in_flight = 0;         ///< (chunk, micro-batch) pairs between F and W, at most
  std::int64_t at_rest = 0;  ///< bytes between two actions, at most
  std::int64_t highest = 0;  ///< bytes, temporaries of the action under way included
};

/// By rank. @param chunks  what a micro-batch takes in every chunk, over the whole pipeline.
/// @throws ConfigError when the schedule is not valid; Error when chunks are missing.
std::vector<ActivationPeak> activation_peaks(const PipelineSchedule& schedule,
                                             std::span<const ActivationMemory> chunks);

}  // namespace athanor
