// Pages of the sequences at work: siblings share what is whole of their prompt, and nothing is taken that is not free.
#include "parallel/rollout/slot_pages.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"

namespace athanor {
namespace {

using Rows = std::vector<std::int32_t>;

class SlotPagesTest : public testing::Test {
 protected:
  Rows table(SlotPages& pages) {
    const Tensor& table_SP = pages.table(*stream_);
    Rows values(static_cast<std::size_t>(table_SP.numel()));
    ops_->download(std::as_writable_bytes(std::span(values)), table_SP, *stream_);
    stream_->synchronize();
    return values;
  }

  std::unique_ptr<Backend> ops_ = make_backend("cpu-guarded");
  std::unique_ptr<Stream> stream_ = ops_->make_stream();
};

// Promise: of 37 tokens in pages of 16 a sibling shares two pages and gets a third with 5 rows to copy; of 32 it shares
// both. Pages come back when their last holder is gone.
TEST_F(SlotPagesTest, SiblingsShareWholePages) {
  SlotPages pages(*ops_, {.slots = 3, .sequence_tokens = 48});
  EXPECT_EQ(pages.num_pages(), 9);
  EXPECT_TRUE(pages.reserve(0, 37));
  Rows from, to;
  pages.share(0, 1, 37, from, to);
  pages.share(0, 2, 32, from, to);
  EXPECT_EQ(pages.num_free(), 9 - 3 - 1);
  const Rows held = table(pages);
  for (const std::size_t shared : {0U, 1U}) {
    EXPECT_EQ(held[3 + shared], held[shared]);
    EXPECT_EQ(held[6 + shared], held[shared]);
  }
  EXPECT_NE(held[5], held[2]);
  ASSERT_EQ(from.size(), 5U);
  for (std::int32_t i = 0; i < 5; ++i) {
    EXPECT_EQ(from[static_cast<std::size_t>(i)], held[2] * 16 + i);
    EXPECT_EQ(to[static_cast<std::size_t>(i)], held[5] * 16 + i);
  }
  EXPECT_TRUE(pages.reserve(2, 33));  // a page of its own behind the shared ones
  EXPECT_NE(table(pages)[8], held[2]);
  pages.release(0);
  EXPECT_EQ(pages.num_free(), 9 - 4);
  pages.release(1);
  pages.release(2);
  EXPECT_EQ(pages.num_free(), 9);
  EXPECT_EQ(pages.peak_held(), 5);
}

// Promise: where too few pages are free nothing is taken, and a slot is no longer than a sequence may be.
TEST_F(SlotPagesTest, TakesAllOrNothing) {
  SlotPages pages(*ops_, {.slots = 4, .sequence_tokens = 64, .page_tokens = 32, .cache_tokens = 96});
  EXPECT_TRUE(pages.reserve(0, 64));
  EXPECT_FALSE(pages.reserve(1, 33));
  EXPECT_EQ(pages.num_free(), 1);
  EXPECT_TRUE(pages.reserve(1, 32));
  EXPECT_TRUE(pages.reserve(1, 20));
  EXPECT_THROW(pages.reserve(0, 65), Error);
}

}  // namespace
}  // namespace athanor
