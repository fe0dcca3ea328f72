// Which part of a logical tensor a rank holds. Law: every logical tensor has one canonical, layout-free name and one
// row-major global shape; a rank's part is one rectangle (ShardSpec) or, for a flat optimizer slice, a list of Boxes.
// All of it is index arithmetic: a pure function of (layout, tensor, rank), without communication.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/base/dtype.hpp"
#include "src/base/shape.hpp"

namespace athanor {

/// A rectangle of a logical tensor: element (i0, i1, ...) with offset[d] <= i_d < offset[d] + extent[d].
struct Box {
  Shape offset, extent;
  friend bool operator==(const Box&, const Box&) = default;
};

/// One rectangle of one logical tensor, with the tensor's identity.
struct ShardSpec {
  std::string name;          ///< canonical, e.g. "layers.12.moe.experts.w_gate"
  DType dtype = DType::f32;  ///< as stored
  Shape global;              ///< shape of the whole logical tensor
  Shape offset, extent;      ///< this rectangle

  Box box() const { return {offset, extent}; }
  bool is_whole() const { return extent == global; }
};

/// A spec that covers all of a tensor.
ShardSpec whole(std::string name, DType dtype, const Shape& global);

/// The common part of two boxes, or nothing.
std::optional<Box> intersect(const Box& a, const Box& b);

/// Splits the flat (row-major) element range [begin, end) of a rectangle of shape `extent` into at most 2*ndim-1 boxes,
/// in element order, with offsets relative to that rectangle. Source: Megatron distributed-optimizer slices; any flat
/// range of a row-major array is such a union.
std::vector<Box> boxes_of_flat_range(const Shape& extent, std::int64_t begin, std::int64_t end);

/// Copies the part `common` (global coordinates) from `src`, which holds box `src_box`, into `dst`, which holds
/// `dst_box`. All buffers are host memory, row-major, of the same element size.
void copy_box(const Box& common, const Box& src_box, const std::byte* src, const Box& dst_box, std::byte* dst,
              std::size_t element_bytes);

}  // namespace athanor
