// Sums over rows, a column each: gradients of biases and norm weights. Law: rows are summed in pieces of 64, pieces are
// added in order, columns are shared out over threads; so the result depends on the shape alone.
#pragma once

#include "src/backend/cpu/kernel.hpp"

namespace athanor::cpu {

/// sums[c] += sum over rows r of term(r, c), which is called inside an omp simd loop over c.
template <class Acc, class Term>
void add_column_sums(Acc* sums, std::int64_t rows, std::int64_t columns, const Term& term) {
  constexpr std::int64_t kPieceRows = 64, kBlock = 64;
  parallel_rows(columns, kBlock, rows * 8, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t first = 0; first < rows; first += kPieceRows) {
      const std::int64_t last = std::min(first + kPieceRows, rows);
      Acc partial[kBlock] = {};
      if (end - begin == kBlock) {
        for (std::int64_t r = first; r < last; ++r) {
#pragma omp simd
          for (std::int64_t i = 0; i < kBlock; ++i) partial[i] += term(r, begin + i);
        }
      } else {
        for (std::int64_t r = first; r < last; ++r) {
#pragma omp simd
          for (std::int64_t i = 0; i < end - begin; ++i) partial[i] += term(r, begin + i);
        }
      }
#pragma omp simd
      for (std::int64_t i = 0; i < end - begin; ++i) sums[begin + i] += partial[i];
    }
  });
}

}  // namespace athanor::cpu
