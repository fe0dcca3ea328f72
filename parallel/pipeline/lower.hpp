// From a schedule to what each rank executes: its actions with the messages between them, and the slots of the
// micro-batches in flight.
//
// Law of messages. All actions and messages of all ranks stand in one global order: by the time at which a clock with
// F = I = W would begin an action, a message at the end of the action that makes its data, before all actions that
// begin then. A rank's program is its part of that order, and a message is one event in it for both of its ranks: sent
// after the action that makes it, received before the action that takes it. Hence
//  * between two ranks, sends and receives stand in the same order on both sides, so they need no tags;
//  * nothing can deadlock, however little the transport does by itself. Take the first event of the order that is not
//    done: all that stands before it on its ranks is done, so both ranks have come to it. That holds for blocking sends
//    that end only with their receive, one at a time or a batch at once, for queues that run in order (NCCL), and for
//    transfers that go on beside the work (Communicator::start_exchange), where an action waits for its own inputs
//    only;
//  * a receive is posted shortly before its data come, so the memory of messages is bounded by the schedule.
// Where both chunks belong to one rank there is no message: the tensor stays where it is.
#pragma once

#include <vector>

#include "parallel/pipeline/schedule.hpp"

namespace athanor {

/// Activations to the chunk behind, or their gradient to the chunk before.
struct Message {
  enum class Kind : std::uint8_t { send, receive };
  Kind kind;
  Part taker;  ///< the F or I that it is made for: F takes activations, I a gradient
  int peer;    ///< rank at the other end

  friend bool operator==(const Message&, const Message&) = default;
};

struct Step {
  std::vector<Message> messages;  ///< started before the action, in this order; may travel as one batch
  Action action;
  int slot = 0;     ///< of the action's (chunk, micro-batch) in its chunk; FB: of its F
  int slot_b = -1;  ///< FB: of its B
  /// The action's W is the last of its chunk: the gradients of the chunk's weights are complete.
  bool completes_gradients = false;
};

struct RankProgram {
  std::vector<Step> steps;
  std::vector<Message> last_messages;  ///< after the last action
};

struct LoweredSchedule {
  std::vector<RankProgram> ranks;
  /// Micro-batches that a chunk keeps at once, by chunk: its slots are 0 to that. A slot is taken at F and free after
  /// W.
  std::vector<int> num_slots;
};

/// @throws ConfigError when the schedule is not valid.
LoweredSchedule lower(const PipelineSchedule& schedule);

}  // namespace athanor
