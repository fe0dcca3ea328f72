// One matrix product on one thread: C[M,N] (+)= op(A)[M,K] * op(B)[K,N], all row-major with leading dims.
// Law: a row of C does not depend on M, on its place in M or on the thread: products of fewer than 16 rows are padded
// to 16, because oneDNN takes another kernel there (ALGORITHMS: every row is bit-identical for M >= 16 on one thread).
// f32 runs on oneDNN's sgemm, bf16 on its matmul primitive (kept per thread and shape), f64 on plain loops for tests.
#pragma once

#include <cstdint>

#include "src/backend/backend.hpp"

namespace athanor::cpu {

struct MatrixProduct {
  Transpose transpose_a = Transpose::no, transpose_b = Transpose::no;
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t lda = 0, ldb = 0, ldc = 0;  ///< elements between rows as stored
  bool accumulate = false;
};

void multiply(const MatrixProduct& p, const double* a, const double* b, double* c);
void multiply(const MatrixProduct& p, const float* a, const float* b, float* c);
void multiply(const MatrixProduct& p, const bf16* a, const bf16* b, float* c);
void multiply(const MatrixProduct& p, const bf16* a, const bf16* b, bf16* c);

}  // namespace athanor::cpu
