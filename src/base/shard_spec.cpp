#include "src/base/shard_spec.hpp"

#include <algorithm>
#include <cstring>

namespace athanor {

ShardSpec whole(std::string name, DType dtype, const Shape& global) {
  Shape zero = global;
  for (int d = 0; d < zero.ndim(); ++d) zero[d] = 0;
  return {std::move(name), dtype, global, zero, global};
}

std::optional<Box> intersect(const Box& a, const Box& b) {
  if (a.offset.ndim() != b.offset.ndim()) return std::nullopt;
  Box common = a;
  for (int d = 0; d < a.offset.ndim(); ++d) {
    const auto begin = std::max(a.offset[d], b.offset[d]);
    const auto end = std::min(a.offset[d] + a.extent[d], b.offset[d] + b.extent[d]);
    if (begin >= end) return std::nullopt;
    common.offset[d] = begin;
    common.extent[d] = end - begin;
  }
  return common;
}

std::vector<Box> boxes_of_flat_range(const Shape& extent, std::int64_t begin, std::int64_t end) {
  std::vector<Box> boxes;
  const int ndim = extent.ndim();
  while (begin < end) {
    // The largest box that starts at `begin`: go outward while the start is aligned to the inner block and one fits.
    int dim = ndim - 1;
    std::int64_t block = 1;
    while (dim > 0 && begin % (block * extent[dim]) == 0 && begin + block * extent[dim] <= end) {
      block *= extent[dim];
      --dim;
    }
    Box box{extent, extent};
    std::int64_t rest = begin;
    for (int d = ndim - 1; d >= 0; --d) {
      box.offset[d] = rest % extent[d];
      rest /= extent[d];
    }
    for (int d = 0; d < dim; ++d) box.extent[d] = 1;
    const std::int64_t room = dim >= 0 && ndim > 0 ? extent[dim] - box.offset[dim] : 1;
    const std::int64_t count = std::min((end - begin) / block, room);
    if (ndim > 0) box.extent[dim] = count;
    for (int d = dim + 1; d < ndim; ++d) box.extent[d] = extent[d];
    boxes.push_back(box);
    begin += count * block;
  }
  return boxes;
}

namespace {
void copy_dims(int dim, const Box& common, const Box& src_box, const std::byte* src, const Box& dst_box, std::byte* dst,
               std::size_t element_bytes) {
  const int ndim = common.offset.ndim();
  std::int64_t src_stride = 1, dst_stride = 1;
  for (int d = dim + 1; d < ndim; ++d) {
    src_stride *= src_box.extent[d];
    dst_stride *= dst_box.extent[d];
  }
  const std::byte* from =
      src + static_cast<std::size_t>((common.offset[dim] - src_box.offset[dim]) * src_stride) * element_bytes;
  std::byte* to =
      dst + static_cast<std::size_t>((common.offset[dim] - dst_box.offset[dim]) * dst_stride) * element_bytes;
  bool inner_is_whole = true;
  for (int d = dim + 1; d < ndim; ++d)
    inner_is_whole = inner_is_whole && common.extent[d] == src_box.extent[d] && common.extent[d] == dst_box.extent[d];
  if (inner_is_whole) {
    std::memcpy(to, from, static_cast<std::size_t>(common.extent[dim] * src_stride) * element_bytes);
    return;
  }
  for (std::int64_t i = 0; i < common.extent[dim]; ++i)
    copy_dims(dim + 1, common, src_box, from + static_cast<std::size_t>(i * src_stride) * element_bytes, dst_box,
              to + static_cast<std::size_t>(i * dst_stride) * element_bytes, element_bytes);
}
}  // namespace

void copy_box(const Box& common, const Box& src_box, const std::byte* src, const Box& dst_box, std::byte* dst,
              std::size_t element_bytes) {
  if (common.offset.ndim() == 0) {
    std::memcpy(dst, src, element_bytes);
    return;
  }
  copy_dims(0, common, src_box, src, dst_box, dst, element_bytes);
}

}  // namespace athanor
