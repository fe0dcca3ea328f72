// Matrix products on one GPU through cuBLASLt. Law: f32 is computed in f32 (no TF32), bf16 is summed in f32, f64 in
// f64; no algorithm that splits the summed dim over blocks is taken, so a product repeats bit for bit.
#pragma once

#include <cublasLt.h>

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "src/backend/backend.hpp"

namespace athanor::cuda {

/// cuBLASLt with its workspace and the algorithms it chose, by shape. One for each stream: products share the
/// workspace.
class MatrixProducts {
 public:
  explicit MatrixProducts(int device);
  ~MatrixProducts();
  MatrixProducts(const MatrixProducts&) = delete;
  MatrixProducts& operator=(const MatrixProducts&) = delete;

  /// Backend::gemm: c = op(a) * op(b) (+ c when accumulate). a, b of one type f32, bf16 or f64; c of that type, or f32
  /// for bf16. @throws Error when shapes or types do not fit, or no algorithm exists.
  void gemm(Tensor c, const Tensor& a, Transpose transpose_a, const Tensor& b, Transpose transpose_b, bool accumulate,
            Stream& stream);

 private:
  struct Key {
    std::int64_t m, n, k;
    Transpose transpose_a, transpose_b;
    DType in, out;
    std::uint32_t alignment;  ///< bytes, of the least aligned operand
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    std::size_t operator()(const Key& key) const;
  };
  struct Plan;

  const Plan& plan(const Key& key);

  int device_;
  cublasLtHandle_t handle_ = nullptr;
  void* workspace_ = nullptr;
  std::unordered_map<Key, std::unique_ptr<Plan>, Hash> plans_;
};

}  // namespace athanor::cuda
