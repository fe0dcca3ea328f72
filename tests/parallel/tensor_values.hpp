// Host values in and out of tensors, for tests.
#pragma once

#include <span>
#include <vector>

#include "src/backend/backend.hpp"

namespace athanor::testing {

/// The elements of a tensor of any type as f64 (i64 values of tests are small).
inline std::vector<double> values_of(Backend& ops, const Tensor& tensor, Stream& stream) {
  const auto count = static_cast<std::size_t>(tensor.numel());
  std::vector<double> values(count);
  const auto read = [&](auto type) {
    using T = decltype(type);
    std::vector<T> host(count);
    ops.download(std::as_writable_bytes(std::span(host)), tensor, stream);
    stream.synchronize();
    for (std::size_t i = 0; i < count; ++i) {
      if constexpr (std::is_same_v<T, bf16>)
        values[i] = static_cast<double>(static_cast<float>(host[i]));
      else
        values[i] = static_cast<double>(host[i]);
    }
  };
  switch (tensor.dtype()) {
    case DType::f64:
      read(double{});
      break;
    case DType::f32:
      read(float{});
      break;
    case DType::bf16:
      read(bf16{});
      break;
    case DType::i64:
      read(std::int64_t{});
      break;
    case DType::i32:
      read(std::int32_t{});
      break;
    case DType::u8:
      read(std::uint8_t{});
      break;
  }
  return values;
}

/// A tensor of `dtype` holding these values, rounded to it.
inline Tensor tensor_of(Backend& ops, const std::vector<double>& values, const Shape& shape, DType dtype,
                        Stream& stream) {
  Tensor tensor;
  const auto write = [&](auto type) {
    using T = decltype(type);
    std::vector<T> host;
    for (const double value : values) {
      if constexpr (std::is_same_v<T, bf16>)
        host.push_back(bf16(static_cast<float>(value)));
      else
        host.push_back(static_cast<T>(value));
    }
    tensor = upload_vector<T>(ops, host, shape, stream);
  };
  switch (dtype) {
    case DType::f64:
      write(double{});
      break;
    case DType::f32:
      write(float{});
      break;
    case DType::bf16:
      write(bf16{});
      break;
    case DType::i64:
      write(std::int64_t{});
      break;
    case DType::i32:
      write(std::int32_t{});
      break;
    case DType::u8:
      write(std::uint8_t{});
      break;
  }
  return tensor;
}

}  // namespace athanor::testing
