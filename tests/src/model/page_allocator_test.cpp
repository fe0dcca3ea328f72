// Pages of a cache and who holds them.
#include "src/model/page_allocator.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"

namespace athanor {
namespace {

// Promise: every page is given once, a shared one is free when its last holder lets go, and what nobody holds cannot be
// given back.
TEST(PageAllocator, CountsHolders) {
  PageAllocator pages(3);
  const std::int32_t a = pages.take(), b = pages.take(), c = pages.take();
  EXPECT_NE(a, b);
  EXPECT_NE(b, c);
  EXPECT_NE(a, c);
  EXPECT_EQ(pages.num_free(), 0);
  EXPECT_THROW(pages.take(), Error);
  pages.share(b);
  pages.give_back(b);
  EXPECT_EQ(pages.num_free(), 0);
  pages.give_back(b);
  EXPECT_EQ(pages.num_free(), 1);
  EXPECT_THROW(pages.give_back(b), Error);
  EXPECT_THROW(pages.share(b), Error);
  EXPECT_THROW(pages.share(3), Error);
  EXPECT_EQ(pages.take(), b);
  EXPECT_EQ(pages.peak_held(), 3);
  pages.reset();
  EXPECT_EQ(pages.num_free(), 3);
  EXPECT_EQ(pages.peak_held(), 0);
}

}  // namespace
}  // namespace athanor
