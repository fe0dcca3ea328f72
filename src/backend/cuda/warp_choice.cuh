// Choosing the largest of values in shared memory, by a warp. Law: the lower id wins a tie; NaN loses to any number.
#pragma once

#include "src/backend/cuda/device.cuh"

namespace athanor::cuda {

template <class Acc>
struct Choice {
  Acc value;
  std::int32_t id;  ///< -1: none
};

template <class Acc>
__device__ Choice<Acc> better(const Choice<Acc>& a, const Choice<Acc>& b) {
  if (a.id < 0 || b.id < 0) return a.id < 0 ? b : a;
  const bool a_is_none = a.value != a.value, b_is_none = b.value != b.value;
  if (a_is_none != b_is_none) return a_is_none ? b : a;
  if (a.value > b.value) return a;
  if (b.value > a.value) return b;
  return a.id < b.id ? a : b;
}

template <class Acc>
__device__ Choice<Acc> best_of_warp(Choice<Acc> mine) {
  for (int other = 16; other > 0; other /= 2)
    mine = better(
        mine, Choice<Acc>{__shfl_xor_sync(kAllLanes, mine.value, other), __shfl_xor_sync(kAllLanes, mine.id, other)});
  return mine;
}

/// The largest of values[0..count) that is not closed; closes it. Every lane gets its id.
template <class Acc>
__device__ std::int32_t take_largest(const Acc* values, std::int32_t* closed, std::int64_t count) {
  Choice<Acc> best{Acc{0}, -1};
  for (std::int64_t i = threadIdx.x; i < count; i += 32)
    if (closed[i] == 0) best = better(best, Choice<Acc>{values[i], static_cast<std::int32_t>(i)});
  best = best_of_warp(best);
  __syncwarp();
  if (threadIdx.x == 0) closed[best.id] = 1;
  __syncwarp();
  return best.id;
}

}  // namespace athanor::cuda
