#include "src/backend/cuda/gemm.hpp"

#include <algorithm>
#include <string>

#include "src/backend/cuda/call.hpp"

namespace athanor::cuda {
namespace {

/// The largest power of two up to 256 that divides the address.
std::uint32_t alignment_of(const Tensor& tensor) {
  const auto address = reinterpret_cast<std::uintptr_t>(tensor.unsafe_data()) | 256U;
  return static_cast<std::uint32_t>(address & (~address + 1));
}

/// @throws Error when sizes or types do not fit.
Product product_of(const Tensor& c, const Tensor& a, Transpose transpose_a, const Tensor& b, Transpose transpose_b,
                   bool rows_alike) {
  // What every row of a matrix of whole vectors has, wherever it stands.
  constexpr std::uint32_t kAlignmentOfRows = 16;
  rows_alike = rows_alike && transpose_a == Transpose::no;
  const std::int64_t a_rows = a.shape().flat_rows(), a_columns = a.shape().back();
  const std::int64_t b_rows = b.shape().flat_rows(), b_columns = b.shape().back();
  const Product product{.m = transpose_a == Transpose::yes ? a_columns : a_rows,
                        .n = transpose_b == Transpose::yes ? b_rows : b_columns,
                        .k = transpose_a == Transpose::yes ? a_rows : a_columns,
                        .transpose_a = transpose_a,
                        .transpose_b = transpose_b,
                        .in = a.dtype(),
                        .out = c.dtype(),
                        .alignment = std::min({alignment_of(a), alignment_of(b), alignment_of(c),
                                               rows_alike ? kAlignmentOfRows : ~std::uint32_t{0}}),
                        .rows_alike = rows_alike};
  const auto operands = [&] { return a.to_string() + " and " + b.to_string() + " into " + c.to_string(); };
  if ((transpose_b == Transpose::yes ? b_columns : b_rows) != product.k || c.shape().flat_rows() != product.m ||
      c.shape().back() != product.n)
    throw Error("gemm: sizes do not fit: " + operands());
  if (b.dtype() != product.in ||
      (product.out != product.in && (product.in != DType::bf16 || product.out != DType::f32)))
    throw Error("gemm: no such product of types: " + operands());
  return product;
}

}  // namespace

MatrixProducts::MatrixProducts(int device) : device_(device), library_(device) {}

void MatrixProducts::gemm(Tensor c, const Tensor& a, Transpose transpose_a, const Tensor& b, Transpose transpose_b,
                          bool accumulate, bool rows_alike, Stream& stream) {
  const Product product = product_of(c, a, transpose_a, b, transpose_b, rows_alike);
  const Call call("gemm", stream, {c, a, b});
  if (product.m == 0 || product.n == 0) return;
  if (product.k == 0) {
    if (!accumulate) call.check(cudaMemsetAsync(c.unsafe_data(), 0, c.bytes(), call.stream()));
    return;
  }
  library_.run(product, c.unsafe_data(), a.unsafe_data(), b.unsafe_data(), accumulate, call.stream());
}

bool MatrixProducts::gemm_bias(Tensor y_TO, const Tensor& x_TI, const Tensor& w_OI, const Tensor& b_O, bool rows_alike,
                               Stream& stream) {
  Product product = product_of(y_TO, x_TI, Transpose::no, w_OI, Transpose::yes, rows_alike);
  require(b_O.numel() == product.n && b_O.dtype() == product.out, "gemm_bias", "a bias of the rows' width and type",
          y_TO, b_O);
  product.with_bias = true;
  const Call call("gemm_bias", stream, {y_TO, x_TI, w_OI, b_O});
  if (product.m == 0 || product.n == 0 || product.k == 0 || !library_.has_bias(product)) return false;
  library_.run_bias(product, y_TO.unsafe_data(), x_TI.unsafe_data(), w_OI.unsafe_data(), b_O.unsafe_data(),
                    call.stream());
  return true;
}

bool MatrixProducts::gemm_fp8(Tensor y_MN, const Fp8Matrix& a_MK, const Fp8Matrix& b_NK, bool accumulate,
                              const Call& call) {
  const Product product{.m = a_MK.values.dim(0),
                        .n = b_NK.values.dim(0),
                        .k = a_MK.values.dim(1),
                        .transpose_a = Transpose::no,
                        .transpose_b = Transpose::yes,
                        .in = DType::u8,
                        .out = y_MN.dtype(),
                        .alignment = std::min({alignment_of(a_MK.values), alignment_of(b_NK.values), alignment_of(y_MN),
                                               alignment_of(a_MK.scales), alignment_of(b_NK.scales)}),
                        .b_tiles = b_NK.tiles};
  if (!library_.has_fp8(product)) return false;
  library_.run_fp8(product, raw(y_MN), raw(a_MK.values), data<const float>(a_MK.scales), raw(b_NK.values),
                   data<const float>(b_NK.scales), accumulate, call.stream());
  return true;
}

}  // namespace athanor::cuda
