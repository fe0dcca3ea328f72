// Whether a checkpoint was written so slowly that a disk must be the reason.
#pragma once

#include <span>
#include <string>

namespace athanor {

struct WriteTime {
  double seconds = 0.0;
  std::string host;
};

/// @param ranks  what each rank took for its shard, by rank, at least one.
/// @param usual  the shortest median of the saves so far, seconds; 0: this is the first.
/// @returns one line naming the slowest rank, or all, when it took at least a second and three times as long as the
/// median of the ranks, or of the best save before; empty: nothing stands out.
std::string slow_disk(std::span<const WriteTime> ranks, double usual);

/// The lower median of the ranks' seconds.
double median_seconds(std::span<const WriteTime> ranks);

}  // namespace athanor
