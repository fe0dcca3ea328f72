#include "src/base/shard_spec.hpp"

#include <gtest/gtest.h>

#include <numeric>

namespace athanor {
namespace {

TEST(Intersect, OfOverlappingBoxesIsTheCommonPart) {
  const Box a{{0, 0}, {4, 4}}, b{{2, 3}, {5, 5}};
  const auto common = intersect(a, b);
  ASSERT_TRUE(common);
  EXPECT_EQ(common->offset, (Shape{2, 3}));
  EXPECT_EQ(common->extent, (Shape{2, 1}));
  EXPECT_FALSE(intersect(a, Box{{4, 0}, {1, 1}}));
}

// Promise: the boxes are in element order, cover the range exactly and are at most 2*ndim-1.
TEST(BoxesOfFlatRange, CoverEveryRangeInOrder) {
  for (const Shape& extent : {Shape{7}, Shape{3, 5}, Shape{2, 3, 4}, Shape{1, 1, 6}, Shape{4, 1, 3}}) {
    for (std::int64_t begin = 0; begin <= extent.numel(); ++begin)
      for (std::int64_t end = begin; end <= extent.numel(); ++end) {
        const auto boxes = boxes_of_flat_range(extent, begin, end);
        EXPECT_LE(boxes.size(), static_cast<std::size_t>(2 * extent.ndim() - 1));
        std::int64_t next = begin;
        for (const Box& box : boxes) {
          std::int64_t first = 0;
          for (int d = 0; d < extent.ndim(); ++d) {
            first = first * extent[d] + box.offset[d];
            EXPECT_LE(box.offset[d] + box.extent[d], extent[d]);
          }
          EXPECT_EQ(first, next) << extent.to_string() << " [" << begin << ", " << end << ")";
          next += box.extent.numel();
        }
        EXPECT_EQ(next, end);
      }
  }
}

TEST(CopyBox, MovesExactlyTheCommonPart) {
  std::vector<int> src(12), dst(12, -1);
  std::iota(src.begin(), src.end(), 0);
  const Box src_box{{0, 0}, {3, 4}}, dst_box{{1, 1}, {3, 4}};
  const auto common = intersect(src_box, dst_box);
  ASSERT_TRUE(common);
  copy_box(*common, src_box, reinterpret_cast<const std::byte*>(src.data()), dst_box,
           reinterpret_cast<std::byte*>(dst.data()), sizeof(int));
  EXPECT_EQ(dst, (std::vector<int>{5, 6, 7, -1, 9, 10, 11, -1, -1, -1, -1, -1}));
}

}  // namespace
}  // namespace athanor
