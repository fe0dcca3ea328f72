// What attention with Hopper's wgmma shares, forward and backward. Laws: a block owns 128 rows of one head, 64 for each
// of two warpgroups that multiply; a third brings tiles of the rows that come by. Blocks take units by their number,
// blockIdx.x + i * gridDim.x, so that all warpgroups know them without asking each other. A matrix of rows in shared
// memory is its columns by 64, one tile of rows of 128 bytes below the other; widths are padded by zeros.
#pragma once

#include "src/backend/cuda/attention_kernels.cuh"
#include "src/backend/cuda/wgmma.cuh"

namespace athanor::cuda {

inline constexpr int kOwnRows = 2 * kRowsOfWarpgroup;
inline constexpr int kBytesOfBarriers = 1024;  ///< so that shared memory stays a multiple of 1024

/// kRowCount rows of kWidth bf16 in shared memory.
template <int kRowCount, int kWidth>
struct TiledMatrix {
  static constexpr int kTileBytes = kRowCount * kTileRowBytes, kTiles = kWidth / kTileWidth;
  static constexpr int kBytes = kTiles * kTileBytes;
  static_assert(kWidth % kTileWidth == 0 && kRowCount % kTileRowsOfSwizzle == 0);
  unsigned char* data;

  /// Rows from `row` (a multiple of 8) on as rows of a or columns of b, their columns being the depth, from the 16
  /// numbered `step` on.
  __device__ Operand rows(int row, int step) const {
    constexpr int kSteps = kTileWidth / 16;
    return Operand::by_edge(data + step / kSteps * kTileBytes + row * kTileRowBytes)
        .plus(step % kSteps * kDepthStepByEdge);
  }
  /// All columns as columns of b, the rows being the depth, from the 16 numbered `step` on.
  __device__ Operand columns(int step) const {
    return Operand::by_depth(data, kTileBytes).plus(step * kDepthStepByDepth);
  }
  /// Asks for rows [row, row + kRowCount) of a head; kBytes are told to the barrier.
  __device__ void copy(const CUtensorMap& map, int head, int row, TileBarrier& barrier) const {
#pragma unroll
    for (int i = 0; i < kTiles; ++i) copy_tile(data + i * kTileBytes, map, i * kTileWidth, head, row, barrier);
  }
};

/// s = own rows * turn^T over a width of kSteps * 16.
template <int kSteps, int N, class Own, class Turn>
__device__ __forceinline__ void start_scores(float (&s)[N / 2], const Own& own, int own_row, const Turn& turn) {
#pragma unroll
  for (int step = 0; step < kSteps; ++step)
    WarpgroupProduct<N>::template multiply<false, false>(s, own.rows(own_row, step), turn.rows(0, step), step > 0);
}

/// Sums of 16 columns, from 8 n on, as fragment of a.
template <int kSums>
__device__ __forceinline__ FragmentA fragment_of(const float (&s)[kSums], int n) {
  return {{pack_bf16(s[4 * n], s[4 * n + 1]), pack_bf16(s[4 * n + 2], s[4 * n + 3]),
           pack_bf16(s[4 * n + 4], s[4 * n + 5]), pack_bf16(s[4 * n + 6], s[4 * n + 7])}};
}

/// One of the thread's two rows of sums, times factor, to a row of `columns` elements (whole vectors); null: nowhere.
/// Every lane calls.
template <int kSums>
__device__ __forceinline__ void write_row(const float (&sums)[kSums], int half, float factor, bf16* to, int columns) {
#pragma unroll
  for (int n = 0; n < kSums / 4; n += 4) {
    Pair pairs[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int at = 4 * (n + i) + 2 * half;
      pairs[i] = pack_bf16(sums[at] * factor, sums[at + 1] * factor);
    }
    turn_quad(pairs);
    const int column = 8 * (n + static_cast<int>(lane_id()) % 4);
    if (to && column < columns)
      *reinterpret_cast<uint4*>(to + column) = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
  }
}

}  // namespace athanor::cuda
