// What a library of matrix products has to offer: cuBLASLt on a GPU, plain loops on the emulated one.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>

#include "src/backend/backend.hpp"

namespace athanor::cuda {

inline constexpr std::int64_t kRowsAlike =
    4096;  ///< of a training step rather than of decoding, which waits for memory

/// Row-major [m, k] times [k, n], either stored the other way round.
struct Product {
  std::int64_t m, n, k;  ///< all above 0
  Transpose transpose_a, transpose_b;
  DType in, out;                      ///< in: f32, bf16 or f64; out: in, or f32 for bf16. u8: FP8 into bf16 or f32
  std::uint32_t alignment;            ///< bytes, of the least aligned operand
  Fp8Tiles b_tiles = Fp8Tiles::rows;  ///< of FP8, whose a is by rows
  /// The algorithm is the one for kRowsAlike rows, whatever m is: a row of c then has the same bits in products of any
  /// m. Where a is not transposed.
  bool rows_alike = false;
  bool with_bias = false;  ///< a number for every column of c is added before c is rounded. Not of u8
  bool operator==(const Product&) const = default;
};

class ProductLibrary {
 public:
  explicit ProductLibrary(int device);
  ~ProductLibrary();
  ProductLibrary(const ProductLibrary&) = delete;
  ProductLibrary& operator=(const ProductLibrary&) = delete;

  /// Enqueues c = op(a) * op(b) (+ c when accumulate). @throws Error when there is no algorithm.
  void run(const Product& product, void* c, const void* a, const void* b, bool accumulate, cudaStream_t stream);

  /// Whether there is a product of this shape with a bias.
  bool has_bias(const Product& product);
  /// Enqueues c = op(a) * op(b) + bias [n], of c's type. Where has_bias.
  void run_bias(const Product& product, void* c, const void* a, const void* b, const void* bias, cudaStream_t stream);

  /// Whether there is a product of FP8 of this shape (in u8, a as it is, b transposed).
  bool has_fp8(const Product& product);
  /// As run, with the scales of Fp8Matrix. Where has_fp8.
  void run_fp8(const Product& product, void* c, const void* a, const float* a_scales, const void* b,
               const float* b_scales, bool accumulate, cudaStream_t stream);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace athanor::cuda
