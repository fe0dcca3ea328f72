// How fast host messages travel between every two ranks, measured now: what `athanor doctor` finds slow links with.
#pragma once

#include <vector>

#include "parallel/host_group.hpp"

namespace athanor {

struct MessageSpeed {
  int peer = 0;
  double bytes_per_second = 0.0;  ///< one way, of the fastest of several messages there and back
  double latency_seconds = 0.0;   ///< one way, of an empty message
};

/// To every other rank, in rounds in which each rank has one peer, so that all links are busy as in a real step.
/// Collective. @param bytes  of a message
std::vector<MessageSpeed> measure_messages(HostGroup& group, std::int64_t bytes);

}  // namespace athanor
