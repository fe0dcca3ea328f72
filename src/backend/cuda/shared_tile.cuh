// A matrix of bf16 in shared memory, laid out so that ldmatrix and 16-byte stores meet no bank conflict: chunks of 8
// elements, the chunk number of a row xor-ed with the row's low bits. Law: kColumns is a multiple of 64, or 32; what
// lies outside the matrix is zero.
#pragma once

#include <cuda_runtime.h>

#include "src/backend/cuda/mma.cuh"

namespace athanor::cuda {

template <int kRows, int kColumns>
struct SharedTile {
  static_assert(kColumns % 64 == 0 || kColumns == 32);
  static constexpr int kElements = kRows * kColumns;
  bf16* data;

  /// Where 8 elements of a row begin.
  __device__ bf16* chunk(int row, int number) const {
    const int swizzle = kColumns == 32 ? row / 2 % 4 : row % 8;
    return data + row * kColumns + (number ^ swizzle) * 8;
  }

  /// A fragment: rows [row, row + 16), columns [column, column + 16).
  __device__ FragmentA a(int row, int column) const {
    const int lane = static_cast<int>(lane_id());
    FragmentA out;
    load_matrices(out.r, chunk(row + lane % 16, column / 8 + lane / 16));
    return out;
  }
  /// The same of the transpose: A's rows are columns [column, + 16) here, its columns are rows [row, + 16).
  __device__ FragmentA a_transposed(int row, int column) const {
    const int lane = static_cast<int>(lane_id());
    FragmentA out;
    load_matrices_transposed(out.r, chunk(row + lane % 8 + lane / 16 * 8, column / 8 + lane / 8 % 2));
    return out;
  }
  /// B fragments of a product with the transpose: B's columns are rows [row, + 16), its rows columns [column, + 16).
  __device__ FragmentB2 b_transposed(int row, int column) const {
    const int lane = static_cast<int>(lane_id());
    FragmentB2 out;
    load_matrices(out.r, chunk(row + lane % 8 + lane / 16 * 8, column / 8 + lane / 8 % 2));
    return out;
  }
  /// B fragments: B's rows are rows [row, + 16), its columns columns [column, + 16).
  __device__ FragmentB2 b(int row, int column) const {
    const int lane = static_cast<int>(lane_id());
    FragmentB2 out;
    load_matrices_transposed(out.r, chunk(row + lane % 16, column / 8 + lane / 16));
    return out;
  }

  /// Copies rows of `columns` elements; row_of(row) is where one begins, null for a row of zeros. `whole`: rows begin
  /// at multiples of 16 bytes and columns is a multiple of 8. All kThreads threads call; the elements are there after
  /// copies_commit, copies_wait and a barrier.
  template <int kThreads, class RowOf>
  __device__ __forceinline__ void load(RowOf row_of, int columns, bool whole) const {
    constexpr int kChunks = kColumns / 8;
    for (int i = static_cast<int>(threadIdx.x); i < kRows * kChunks; i += kThreads) {
      const int row = i / kChunks, column = i % kChunks * 8;
      const bf16* from = row_of(row);
      bf16* to = chunk(row, column / 8);
      const int count = from && column < columns ? (columns - column < 8 ? columns - column : 8) : 0;
      if (count == 0) {
        *reinterpret_cast<uint4*>(to) = make_uint4(0, 0, 0, 0);
      } else if (whole) {
        copy_16_bytes(to, from + column);
      } else {
        for (int j = 0; j < 8; ++j) to[j].bits = j < count ? from[column + j].bits : std::uint16_t{0};
      }
    }
  }
};

/// Two neighbouring 16 x 8 tiles of a product += a * b.
__device__ inline void mma_pair(float (&even)[4], float (&odd)[4], const FragmentA& a, const FragmentB2& b) {
  mma_16x8x16(even, a, b.r[0], b.r[1]);
  mma_16x8x16(odd, a, b.r[2], b.r[3]);
}

/// Two neighbouring tiles of a product as the A fragment of the next one.
__device__ inline FragmentA as_a(const float (&even)[4], const float (&odd)[4]) {
  return {
      {pack_bf16(even[0], even[1]), pack_bf16(even[2], even[3]), pack_bf16(odd[0], odd[1]), pack_bf16(odd[2], odd[3])}};
}

}  // namespace athanor::cuda
