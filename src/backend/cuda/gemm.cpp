#include "src/backend/cuda/gemm.hpp"

#include <algorithm>
#include <string>

#include "src/backend/cuda/cuda_device.hpp"
#include "src/backend/cuda/cuda_stream.hpp"
#include "src/base/error.hpp"

namespace athanor::cuda {
namespace {

/// The largest power of two up to 256 that divides the address.
std::uint32_t alignment_of(const Tensor& tensor) {
  const auto address = reinterpret_cast<std::uintptr_t>(tensor.unsafe_data()) | 256U;
  return static_cast<std::uint32_t>(address & (~address + 1));
}

}  // namespace

MatrixProducts::MatrixProducts(int device) : device_(device), library_(device) {}

void MatrixProducts::gemm(Tensor c, const Tensor& a, Transpose transpose_a, const Tensor& b, Transpose transpose_b,
                          bool accumulate, Stream& stream) {
  const std::int64_t a_rows = a.shape().flat_rows(), a_columns = a.shape().back();
  const std::int64_t b_rows = b.shape().flat_rows(), b_columns = b.shape().back();
  const Product product{.m = transpose_a == Transpose::yes ? a_columns : a_rows,
                        .n = transpose_b == Transpose::yes ? b_rows : b_columns,
                        .k = transpose_a == Transpose::yes ? a_rows : a_columns,
                        .transpose_a = transpose_a,
                        .transpose_b = transpose_b,
                        .in = a.dtype(),
                        .out = c.dtype(),
                        .alignment = std::min({alignment_of(a), alignment_of(b), alignment_of(c)})};
  const auto operands = [&] { return a.to_string() + " and " + b.to_string() + " into " + c.to_string(); };
  if ((transpose_b == Transpose::yes ? b_columns : b_rows) != product.k || c.shape().flat_rows() != product.m ||
      c.shape().back() != product.n)
    throw Error("gemm: sizes do not fit: " + operands());
  if (b.dtype() != product.in ||
      (product.out != product.in && (product.in != DType::bf16 || product.out != DType::f32)))
    throw Error("gemm: no such product of types: " + operands());
  auto& cuda_stream = static_cast<CudaStream&>(stream);
  for (const Tensor* tensor : {&a, &b, static_cast<const Tensor*>(&c)})
    if (tensor->device() != Device{Device::Kind::cuda, device_} || cuda_stream.device() != device_)
      throw Error("gemm: wanted tensors and stream on cuda:" + std::to_string(device_) + ": " + operands());
  if (product.m == 0 || product.n == 0) return;
  const DeviceGuard guard(device_);
  if (product.k == 0) {
    if (!accumulate) check(cudaMemsetAsync(c.unsafe_data(), 0, c.bytes(), cuda_stream.handle()), "zero a product");
    return;
  }
  library_.run(product, c.unsafe_data(), a.unsafe_data(), b.unsafe_data(), accumulate, cuda_stream.handle());
}

}  // namespace athanor::cuda
