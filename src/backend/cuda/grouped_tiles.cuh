// The tiles of a grouped product, walked on the device.
#pragma once

#include <cuda_runtime.h>

#include "src/backend/cuda/grouped_gemm_kernels.cuh"
#include "src/backend/cuda/mma.cuh"

namespace athanor::cuda {

/// Where groups begin along the depth when they are cut by places (quantize_fp8_columns).
inline constexpr int kPlaces = 128;

__device__ inline void put(float& to, float value, bool accumulate) { to = accumulate ? to + value : value; }
__device__ inline void put(bf16& to, float value, bool accumulate) {
  to = to_bf16(accumulate ? to_float(to) + value : value);
}

/// One tile of c and the operands of its group.
template <class In, class Out>
struct ProductTile {
  const In *a, *b;
  Out* c;
  int group, begin;             ///< its number; what its rows or its depth begin at
  int rows, columns, depth;     ///< of the group
  int first_row, first_column;  ///< of the tile
};

/// Walks tiles (kRows x kColumns) blockIdx.x, blockIdx.x + gridDim.x, ...; those of one group follow each other, rows
/// first, so that the blocks at work share columns of b.
template <class In, class Out, int kRows, int kColumns = kRows>
class TileWalk {
 public:
  __device__ explicit TileWalk(const GroupedProduct& product) : p_(product), number_(blockIdx.x) {}

  __device__ bool next(ProductTile<In, Out>& tile) {
    for (; group_ < p_.num_groups; ++group_) {
      int begin = 0, rows = p_.rows, depth = p_.depth;
      if (p_.by != GroupBy::whole) {
        begin = p_.offsets_E1[group_];
        (p_.by == GroupBy::rows ? rows : depth) = p_.offsets_E1[group_ + 1] - begin;
      }
      if (p_.by == GroupBy::places) {
        begin = place_;
        depth = (depth + kPlaces - 1) / kPlaces * kPlaces;
      }
      const int row_tiles = (rows + kRows - 1) / kRows;
      const std::int64_t tiles = static_cast<std::int64_t>(row_tiles) * ((p_.columns + kColumns - 1) / kColumns);
      if (number_ >= first_ + tiles) {
        first_ += tiles;
        place_ += depth;
        continue;
      }
      const auto here = static_cast<int>(number_ - first_);
      tile = {static_cast<const In*>(p_.a) + group_ * p_.a_of_group,
              static_cast<const In*>(p_.b) + group_ * p_.b_of_group,
              static_cast<Out*>(p_.c) + group_ * p_.c_of_group,
              group_,
              begin,
              rows,
              p_.columns,
              depth,
              here % row_tiles * kRows,
              here / row_tiles * kColumns};
      if (p_.by == GroupBy::rows || p_.by == GroupBy::depth) tile.a += begin * p_.a_stride;
      if (p_.by == GroupBy::rows) tile.c += begin * p_.c_stride;
      if (p_.by == GroupBy::depth) tile.b += begin * p_.b_stride;
      if (p_.by == GroupBy::places) {
        tile.a += begin;
        tile.b += begin;
      }
      number_ += gridDim.x;
      return true;
    }
    return false;
  }

 private:
  const GroupedProduct& p_;
  std::int64_t number_, first_ = 0;  ///< the next tile; tiles of the groups before group_
  int group_ = 0, place_ = 0;        ///< the group's, and where its depth begins by places
};

}  // namespace athanor::cuda
