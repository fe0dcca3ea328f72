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

void multiply(const Fp8Product& p, const Fp8Rows& a, const Fp8Rows& b, float* c);
void multiply(const Fp8Product& p, const Fp8Rows& a, const Fp8Rows& b, bf16* c);

}  // namespace athanor::cpu
