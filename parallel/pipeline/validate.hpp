// Proof that a schedule can run and computes what it should. Law, checked in this order:
//  * every action names a chunk and a micro-batch that exist, on the rank that owns the chunk;
//  * each (chunk, micro-batch) has exactly one F, one I and one W, in this order (B is I then W; FB is an F and the B
//  of
//    another), so gradients are complete and added once;
//  * no wait cycle: ranks that run their programs in order, each action waiting for what needs_of() says, come to the
//    end whatever the times are.
#pragma once

#include <vector>

#include "parallel/pipeline/schedule.hpp"

namespace athanor {

/// @throws ConfigError naming schedule, rank, action and reason; for a deadlock, the cycle of actions that wait for
/// each other.
void validate(const PipelineSchedule& schedule);

/// The most micro-batches (counted once a chunk) whose activations a rank holds at once, by rank: from F until W. An
/// overlapped pair holds both of its own. Wants a valid schedule.
std::vector<int> peak_activations(const PipelineSchedule& schedule);

}  // namespace athanor
