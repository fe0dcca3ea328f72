// Tensor: a shape and a type on shared device memory. Law: contiguous and row-major; the only views are a cut of rows
// and the same elements under another shape. Host code never reads or writes the elements: operations of a Backend do,
// and unsafe_data() is for them and for communicators alone (a test scans for other uses).
#pragma once

#include <cstdint>
#include <string>

#include "src/backend/device.hpp"
#include "src/backend/storage.hpp"
#include "src/base/dtype.hpp"
#include "src/base/shape.hpp"

namespace athanor {

class Tensor {
 public:
  /// No tensor: defined() is false. Optional operands are passed so.
  Tensor() = default;
  Tensor(StorageRef storage, std::size_t offset_bytes, const Shape& shape, DType dtype, Device device)
      : storage_(std::move(storage)), offset_bytes_(offset_bytes), shape_(shape), dtype_(dtype), device_(device) {}

  bool defined() const { return static_cast<bool>(storage_); }
  const Shape& shape() const { return shape_; }
  std::int64_t dim(int d) const { return shape_[d < 0 ? shape_.ndim() + d : d]; }
  std::int64_t numel() const { return shape_.numel(); }
  std::size_t bytes() const { return static_cast<std::size_t>(numel()) * size_bytes(dtype_); }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }

  /// Rows [begin, end) of dim 0, sharing memory. @throws Error when out of range.
  Tensor rows(std::int64_t begin, std::int64_t end) const;
  /// The same elements under another shape, sharing memory. @throws Error when the counts differ.
  Tensor reshaped(const Shape& shape) const;

  /// "f32[4, 128] on cpu"
  std::string to_string() const;

  /// The elements. For operations and communicators only, inside work that runs on the stream.
  std::byte* unsafe_data() const { return storage_.data() + offset_bytes_; }

 private:
  StorageRef storage_;
  std::size_t offset_bytes_ = 0;
  Shape shape_;
  DType dtype_ = DType::f32;
  Device device_;
};

}  // namespace athanor
