// A stable counting sort on the device. Law: all counts are integers, so the order does not depend on which block runs
// first; keys that are equal keep the order of their places.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace athanor::cuda {

/// Keys a tile of one block.
inline constexpr std::int64_t kSortTile = 256;

/// One pass: places of `keys` in the order of (key >> shift) & mask, of `buckets` values; what is outside [0, limit)
/// goes to the last bucket.
struct SortPass {
  const std::int32_t* keys;
  const std::int32_t* from;  ///< the order so far (places of keys), or null: 0, 1, 2, ...
  std::int64_t count, limit;
  int shift;
  std::int32_t mask, buckets;
};
/// i32 elements that a pass needs to count in.
constexpr std::int64_t sort_workspace(std::int64_t count, std::int64_t buckets) {
  return (count + kSortTile - 1) / kSortTile * buckets + 1;
}
/// order[i] = the place of the i-th key; place_of (or null) its inverse. begin_of[b] (or null) = where bucket b begins,
/// for all buckets.
cudaError_t launch_sort_pass(std::int32_t* order, std::int32_t* place_of, std::int32_t* begin_of,
                             std::int32_t* workspace, const SortPass& pass, cudaStream_t stream);

}  // namespace athanor::cuda
