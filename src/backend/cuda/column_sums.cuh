// Sums over rows, a column each: gradients of biases and norm weights. Law: rows are summed in pieces whose size
// depends on the number of rows, pieces are added in order; so the result depends on the shape alone.
#pragma once

#include "src/backend/cuda/column_sum_pieces.hpp"
#include "src/backend/cuda/device.cuh"

namespace athanor::cuda {

/// pieces[p * columns + c] = sum of term over rows of piece p. Term: T's pack of row r, as
/// `void operator()(std::int64_t r, std::int64_t pack, acc_t<T> (&values)[kPack<T>]) const`.
template <class T, class Term>
__global__ void piece_sums_kernel(acc_t<T>* pieces, Term term, std::int64_t rows, std::int64_t columns,
                                  std::int64_t piece_rows) {
  constexpr int kCount = kPack<T>;
  const std::int64_t pack = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (pack * kCount >= columns) return;
  const std::int64_t begin = blockIdx.y * piece_rows, end = begin + piece_rows < rows ? begin + piece_rows : rows;
  acc_t<T> sums[kCount] = {}, values[kCount];
#pragma unroll 4
  for (std::int64_t r = begin; r < end; ++r) {
    term(r, pack, values);
#pragma unroll
    for (int i = 0; i < kCount; ++i) sums[i] += values[i];
  }
  for (int i = 0; i < kCount; ++i)
    if (pack * kCount + i < columns) pieces[blockIdx.y * columns + pack * kCount + i] = sums[i];
}

template <class Acc>
struct AddPieces {
  Acc* sums;
  const Acc* pieces;
  std::int64_t count, columns;
  __device__ void operator()(std::int64_t c) const {
    Acc sum{};
    for (std::int64_t p = 0; p < count; ++p) sum += pieces[p * columns + c];
    sums[c] += sum;
  }
};

/// sums[c] += the terms of column c.
template <class T, class Term>
cudaError_t add_column_sums(acc_t<T>* sums, acc_t<T>* workspace, const Term& term, std::int64_t rows,
                            std::int64_t columns, cudaStream_t stream) {
  if (rows == 0 || columns == 0) return cudaSuccess;
  constexpr unsigned kBlock = 64;
  const std::int64_t pieces = column_sum_pieces(rows), piece_rows = (rows + pieces - 1) / pieces;
  const cudaError_t status = launch(
      piece_sums_kernel<T, Term>,
      {{static_cast<unsigned>(packs_of(packs_of(columns, kPack<T>), kBlock)), static_cast<unsigned>(pieces)}, kBlock},
      stream, workspace, term, rows, columns, piece_rows);
  if (status != cudaSuccess) return status;
  return for_each(AddPieces<acc_t<T>>{sums, workspace, pieces, columns}, columns, stream);
}

}  // namespace athanor::cuda
