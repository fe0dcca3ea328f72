// Shape of a tensor: at most four dims, row-major, value type without heap memory.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "src/base/error.hpp"

namespace athanor {

class Shape {
 public:
  static constexpr int kMaxDims = 4;

  constexpr Shape() = default;
  constexpr Shape(std::initializer_list<std::int64_t> dims) {
    if (dims.size() > kMaxDims) throw Error("Shape: more than 4 dims");
    for (auto dim : dims) dims_[static_cast<std::size_t>(ndim_++)] = dim;
  }

  constexpr int ndim() const { return ndim_; }
  constexpr std::int64_t operator[](int dim) const { return dims_[static_cast<std::size_t>(dim)]; }
  constexpr std::int64_t& operator[](int dim) { return dims_[static_cast<std::size_t>(dim)]; }
  constexpr std::int64_t back() const { return ndim_ == 0 ? 1 : dims_[static_cast<std::size_t>(ndim_ - 1)]; }
  constexpr void push_back(std::int64_t dim) {
    if (ndim_ == kMaxDims) throw Error("Shape: more than 4 dims");
    dims_[static_cast<std::size_t>(ndim_++)] = dim;
  }

  /// Product of the dims; 1 for a scalar shape {}.
  constexpr std::int64_t numel() const {
    std::int64_t count = 1;
    for (int i = 0; i < ndim_; ++i) count *= (*this)[i];
    return count;
  }
  /// Elements in one row of dim 0.
  constexpr std::int64_t row_numel() const { return ndim_ == 0 || (*this)[0] == 0 ? 0 : numel() / (*this)[0]; }
  /// All dims but the last multiplied: the number of rows when the tensor is read as a matrix.
  constexpr std::int64_t flat_rows() const {
    std::int64_t rows = 1;
    for (int i = 0; i + 1 < ndim_; ++i) rows *= (*this)[i];
    return rows;
  }

  friend constexpr bool operator==(const Shape& a, const Shape& b) {
    if (a.ndim_ != b.ndim_) return false;
    for (int i = 0; i < a.ndim_; ++i)
      if (a[i] != b[i]) return false;
    return true;
  }

  /// "[4, 128]"
  std::string to_string() const {
    std::string text = "[";
    for (int i = 0; i < ndim_; ++i) text += (i ? ", " : "") + std::to_string((*this)[i]);
    return text + "]";
  }

 private:
  std::array<std::int64_t, kMaxDims> dims_{};
  int ndim_ = 0;
};

}  // namespace athanor
