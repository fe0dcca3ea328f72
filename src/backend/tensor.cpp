#include "src/backend/tensor.hpp"

#include "src/base/error.hpp"

namespace athanor {

Tensor Tensor::rows(std::int64_t begin, std::int64_t end) const {
  if (shape_.ndim() == 0 || begin < 0 || end < begin || end > shape_[0])
    throw Error("Tensor::rows: [" + std::to_string(begin) + ", " + std::to_string(end) + ") of " + to_string());
  Shape shape = shape_;
  shape[0] = end - begin;
  const auto skip = static_cast<std::size_t>(begin * shape_.row_numel()) * size_bytes(dtype_);
  return {storage_, offset_bytes_ + skip, shape, dtype_, device_};
}

Tensor Tensor::reshaped(const Shape& shape) const {
  if (shape.numel() != numel()) throw Error("Tensor::reshaped: " + to_string() + " to " + shape.to_string());
  return {storage_, offset_bytes_, shape, dtype_, device_};
}

std::string Tensor::to_string() const {
  if (!defined()) return "no tensor";
  return std::string(athanor::to_string(dtype_)) + shape_.to_string() + " on " + athanor::to_string(device_);
}

}  // namespace athanor
