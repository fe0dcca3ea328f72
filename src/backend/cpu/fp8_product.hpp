// One product of FP8 matrices on one thread: C[M,N] (+)= A[M,K] * B[N,K]^T. Law: the sum of 128 products of E4M3 is
// exact in f64 (43 bits at most), so it is rounded once, to f32; sums over tiles run in order in f32. No order of loops
// shows in the bits, and a row does not depend on the others: this is what other back ends are compared with.
#pragma once

#include <cstdint>

#include "src/backend/operand_shapes.hpp"
#include "src/base/dtype.hpp"

namespace athanor::cpu {

/// Rows of K bytes; row i, tile t has the scale scales.data[t * by_tile + (i >> shift) * by_row].
struct Fp8Rows {
  const std::uint8_t* values = nullptr;
  std::int64_t stride = 0;  ///< bytes between rows
  Fp8Scales scales;
};

struct Fp8Product {
  std::int64_t m = 0, n = 0, k = 0, ldc = 0;
  bool accumulate = false;
};

/// Runs f(group, first row, last row, first place) for every group of quantize_fp8_columns; places begin at multiples
/// of a tile. offsets may be null: one group of all rows.
template <class F>
void for_fp8_groups(const std::int32_t* offsets, std::int64_t groups, std::int64_t rows, const F& f) {
  std::int64_t place = 0;
  for (std::int64_t e = 0; e < groups; ++e) {
    const std::int64_t begin = offsets ? offsets[e] : 0, end = offsets ? offsets[e + 1] : rows;
    f(e, begin, end, place);
    place += fp8_tiles(end - begin) * kFp8Tile;
  }
}

void multiply(const Fp8Product& p, const Fp8Rows& a, const Fp8Rows& b, float* c);
void multiply(const Fp8Product& p, const Fp8Rows& a, const Fp8Rows& b, bf16* c);

}  // namespace athanor::cpu
