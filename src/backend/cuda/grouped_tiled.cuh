// What grouped products on Hopper share, of bf16 and of FP8: the shape of a block and how sums leave it. Laws: a block
// makes tiles of 128 rows, 64 for each of two warpgroups that multiply; a third brings operands.
#pragma once

#include "src/backend/cuda/grouped_tiles.cuh"
#include "src/backend/cuda/wgmma.cuh"

namespace athanor::cuda {

/// Sums of a warpgroup to c; first_row: of the thread.
template <class Out, int kSums>
__device__ void write_sums(const float (&sums)[kSums], const GroupedProduct& p, Out* c, int first_row, int rows,
                           int first_column) {
  const int lane = static_cast<int>(lane_id());
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = first_row + 8 * half;
    Out* const to = c + static_cast<std::int64_t>(row) * p.c_stride + first_column;
    const int columns = row < rows ? p.columns - first_column : 0;
    if constexpr (sizeof(Out) == 2) {
      if (p.whole_c) {
#pragma unroll
        for (int n = 0; n < kSums / 4; n += 4) {
          Pair pairs[4];
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            // What c holds is added in f32: the old pair is read where it lies.
            float low = sums[4 * (n + i) + 2 * half], high = sums[4 * (n + i) + 2 * half + 1];
            const int column = 8 * (n + i) + 2 * (lane % 4);
            if (p.accumulate && column < columns) {
              const Pair old = *reinterpret_cast<const Pair*>(to + column);
              low += __uint_as_float(old << 16);
              high += __uint_as_float(old & 0xffff0000U);
            }
            pairs[i] = pack_bf16(low, high);
          }
          turn_quad(pairs);
          const int column = 8 * (n + lane % 4);
          if (column < columns)
            *reinterpret_cast<uint4*>(to + column) = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
        }
        continue;
      }
    }
#pragma unroll
    for (int n = 0; n < kSums / 4; ++n)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int column = 8 * n + 2 * (lane % 4) + i;
        if (column < columns) put(to[column], sums[4 * n + 2 * half + i], p.accumulate);
      }
  }
}

}  // namespace athanor::cuda
