// What CPU kernels share: typed access inside stream work, dispatch on dtype, sharing rows over threads, checks.
// Law: rows are cut into fixed pieces whatever the number of threads, so results do not depend on it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "src/backend/operand_checks.hpp"
#include "src/backend/tensor.hpp"
#include "src/base/dtype.hpp"

namespace athanor::cpu {

/// Typed elements; only inside a closure handed to run_on.
template <class T>
T* data(const Tensor& tensor) {
  return reinterpret_cast<T*>(tensor.unsafe_data());
}

/// The type in which values of T are computed.
template <class T>
using acc_t = std::conditional_t<std::is_same_v<T, double>, double, float>;

/// By reference: a copy of a bf16 inside an inner loop keeps it from vectorising.
template <class T>
acc_t<T> load(const T& value) {
  return static_cast<acc_t<T>>(value);
}
template <class T>
T store(acc_t<T> value) {
  return static_cast<T>(value);
}
/// to = value, rounded: what inner loops write with, because a temporary bf16 keeps them from vectorising.
template <class T>
void put(T& to, acc_t<T> value) {
  if constexpr (std::is_same_v<T, bf16>)
    to.bits = bf16::rounded_bits(value);
  else
    to = value;
}

/// Calls f(T{}) with the C++ type of a floating dtype. @throws Error for others, naming the operation.
template <class F>
void dispatch_floating(DType dtype, std::string_view op, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f(float{});
    case DType::bf16:
      return f(bf16{});
    case DType::f64:
      return f(double{});
    default:
      throw Error(std::string(op) + ": wanted f32, bf16 or f64, found " + std::string(to_string(dtype)));
  }
}
/// Calls f(T{}) for an accumulation dtype (f32 or f64).
template <class F>
void dispatch_acc(DType dtype, std::string_view op, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f(float{});
    case DType::f64:
      return f(double{});
    default:
      throw Error(std::string(op) + ": wanted f32 or f64, found " + std::string(to_string(dtype)));
  }
}

/// Runs f(begin, end) on pieces of at most `piece` rows, shared over threads. `work_per_row` (about bytes touched)
/// keeps small jobs on one thread.
template <class F>
void parallel_rows(std::int64_t rows, std::int64_t piece, std::int64_t work_per_row, const F& f) {
  constexpr std::int64_t kWorthAThread = 64 * 1024;
  const std::int64_t pieces = (rows + piece - 1) / piece;
  if (pieces <= 1 || rows * work_per_row < kWorthAThread) {
    for (std::int64_t begin = 0; begin < rows; begin += piece) f(begin, std::min(begin + piece, rows));
    return;
  }
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < pieces; ++i) f(i * piece, std::min((i + 1) * piece, rows));
}

}  // namespace athanor::cpu
