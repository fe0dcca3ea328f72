// Matrix products on one GPU. Law: f32 is computed in f32 (no TF32), bf16 is summed in f32, f64 in f64; no algorithm
// that splits the summed dim over blocks is taken, so a product repeats bit for bit.
#pragma once

#include "src/backend/backend.hpp"
#include "src/backend/cuda/call.hpp"
#include "src/backend/cuda/product_library.hpp"

namespace athanor::cuda {

/// The products of one stream: they share a workspace.
class MatrixProducts {
 public:
  explicit MatrixProducts(int device);

  /// Backend::gemm: c = op(a) * op(b) (+ c when accumulate). a, b of one type f32, bf16 or f64; c of that type, or f32
  /// for bf16. @param rows_alike  Backend::keep_rows_alike. @throws Error when shapes or types do not fit, or no
  /// algorithm exists.
  void gemm(Tensor c, const Tensor& a, Transpose transpose_a, const Tensor& b, Transpose transpose_b, bool accumulate,
            bool rows_alike, Stream& stream);

  /// Backend::gemm_bias where cuBLAS adds the bias in the product. @returns whether it does.
  bool gemm_bias(Tensor y_TO, const Tensor& x_TI, const Tensor& w_OI, const Tensor& b_O, bool rows_alike,
                 Stream& stream);

  /// Backend::gemm_fp8 through cuBLAS, where it has the product. @returns whether it has.
  bool gemm_fp8(Tensor y_MN, const Fp8Matrix& a_MK, const Fp8Matrix& b_NK, bool accumulate, const Call& call);

 private:
  int device_;
  ProductLibrary library_;
};

}  // namespace athanor::cuda
