// In how many pieces rows are summed: what the scratch memory of column_sums.cuh has to hold.
#pragma once

#include <cstdint>

namespace athanor::cuda {

/// Pieces of 32 rows, but at most 256 of them.
constexpr std::int64_t column_sum_pieces(std::int64_t rows) {
  const std::int64_t pieces = (rows + 31) / 32;
  return pieces < 256 ? pieces : 256;
}

}  // namespace athanor::cuda
