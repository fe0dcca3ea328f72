// Attention against a cache in pages: the bits of the training forward, absorbed MLA against obvious f64 loops.
#include "tests/src/backend/attention_fixture.hpp"

namespace athanor {
namespace {

class AttentionCachedTest : public AttentionTest {};

/// Pages of several slots, scattered: those of a slot fall, and slots alternate.
class PageTable {
 public:
  PageTable(std::int64_t slots, std::int64_t tokens, std::int64_t page_rows)
      : page_rows_(page_rows), pages_per_slot_((tokens + page_rows - 1) / page_rows) {
    for (std::int64_t s = 0; s < slots; ++s)
      for (std::int64_t i = 0; i < pages_per_slot_; ++i)
        pages_.push_back(static_cast<std::int32_t>((pages_per_slot_ - 1 - i) * slots + s));
  }
  const std::vector<std::int32_t>& pages() const { return pages_; }
  std::int64_t pages_per_slot() const { return pages_per_slot_; }
  std::int64_t num_pages() const { return std::ssize(pages_); }
  std::int64_t row(std::int64_t slot, std::int64_t position) const {
    return pages_[at(slot * pages_per_slot_ + position / page_rows_)] * page_rows_ + position % page_rows_;
  }

 private:
  std::int64_t page_rows_, pages_per_slot_;
  std::vector<std::int32_t> pages_;
};

// Promise: reading keys and values from a cache, many rows of a slot at once (prefill) or one row a slot (decode),
// gives the bits of the training forward while rows are kept alike, wherever the pages lie and whatever their size.
TEST_P(AttentionCachedTest, CachedHasTheBitsOfTheForward) {
  EXPECT_FALSE(ops_->keep_rows_alike(true));
  for (const Case& c : {Case{{150}, 4, 2, 24, 16}, {{70}, 2, 2, 17, 9}, {{97}, 12, 1, 32, 40}, {{129}, 2, 2, 48, 31}}) {
    const Inputs in = inputs(c);
    const Values wanted = run(c, in).o;
    const std::int64_t tokens = c.tokens(), o_width = c.heads * c.v_dim;
    std::vector<std::int32_t> lengths;
    for (std::int64_t t = 0; t < tokens; ++t) lengths.push_back(static_cast<std::int32_t>(t + 1));
    const std::vector<std::int32_t> slots(at(tokens), 1);
    for (const std::int64_t page_rows : {16, 64, 256}) {
      SCOPED_TRACE("pages of " + std::to_string(page_rows));
      const PageTable table(2, tokens, page_rows);
      Tensor k_cache = random({table.num_pages() * page_rows, c.kv_heads * c.qk_dim}, 7);
      Tensor v_cache = random({table.num_pages() * page_rows, c.kv_heads * c.v_dim}, 8);
      for (std::int64_t t = 0; t < tokens; ++t) {
        const std::int64_t row = table.row(1, t);
        ops_->copy(k_cache.rows(row, row + 1), in.k.rows(t, t + 1), *stream_);
        ops_->copy(v_cache.rows(row, row + 1), in.v.rows(t, t + 1), *stream_);
      }
      const Tensor pages_SP = ids(table.pages()).reshaped({2, table.pages_per_slot()});
      Tensor o = ops_->empty({tokens, o_width}, dtype_);
      ops_->attention_cached(o, in.q, k_cache, v_cache, pages_SP, ids(slots), ids(lengths), page_rows, c.args(),
                             *stream_);
      expect_same_bits(read(o), wanted, 0, "prefill");

      for (const std::int64_t t : {std::int64_t{0}, std::int64_t{31}, std::int64_t{64}, tokens - 1}) {
        Tensor o_1 = ops_->empty({1, o_width}, dtype_);
        ops_->attention_cached(o_1, in.q.rows(t, t + 1), k_cache, v_cache, pages_SP, ids({1}), ids({lengths[at(t)]}),
                               page_rows, c.args(), *stream_);
        expect_same_bits(read(o_1), wanted, t * o_width, "decode");
      }
    }
  }
}

// Promise: with no value cache the values are the first entries of the key rows (absorbed MLA), for few and many heads,
// rows of several slots mixed; a row of length zero gives zeros.
TEST_P(AttentionCachedTest, AbsorbedValuesAreTheFrontOfTheKeys) {
  for (const std::int64_t heads : {3, 20, 40}) {
    const std::int64_t page_rows = heads == 20 ? 16 : 32, qk_dim = 40, v_dim = 32;
    const AttentionArgs args{heads, 1, qk_dim, v_dim, 0.2};
    const std::vector<std::int32_t> slots{2, 0, 0, 1, 2, 1}, lengths{80, 3, 66, 1, 17, 0};
    const std::int64_t rows = 6;
    const PageTable table(3, 80, page_rows);
    Values q, cache, wanted(at(rows * heads * v_dim));
    const Tensor q_R = random({rows, heads * qk_dim}, 1, &q);
    const Tensor cache_N = random({table.num_pages() * page_rows, qk_dim}, 2, &cache);
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t h = 0; h < heads; ++h) {
        double total = 0;
        for (std::int64_t j = 0; j < lengths[at(r)]; ++j) {
          const std::int64_t key = table.row(slots[at(r)], j) * qk_dim;
          double s = 0;
          for (std::int64_t d = 0; d < qk_dim; ++d) s += q[at((r * heads + h) * qk_dim + d)] * cache[at(key + d)];
          total += std::exp(s * args.scale);
          for (std::int64_t d = 0; d < v_dim; ++d)
            wanted[at((r * heads + h) * v_dim + d)] += std::exp(s * args.scale) * cache[at(key + d)];
        }
        for (std::int64_t d = 0; total > 0 && d < v_dim; ++d) wanted[at((r * heads + h) * v_dim + d)] /= total;
      }
    Tensor o = ops_->empty({rows, heads * v_dim}, dtype_);

    ops_->attention_cached(o, q_R, cache_N, {}, ids(table.pages()).reshaped({3, table.pages_per_slot()}), ids(slots),
                           ids(lengths), page_rows, args, *stream_);

    expect_near(read(o), wanted, "o");
  }
}

// Promise: pages of other sizes than the kernels' tiles divide into are refused, and on the CPU a page that is none.
TEST_P(AttentionCachedTest, RefusesPagesThatAreNone) {
  const AttentionArgs args{1, 1, 4, 4, 1.0};
  const Tensor q = random({1, 4}, 1), cache = random({48, 4}, 2);
  Tensor o = ops_->empty({1, 4}, dtype_);
  const auto attend = [&](std::int64_t page_rows, std::int32_t page, std::int32_t length) {
    ops_->attention_cached(o, q, cache, {}, ids({page, 0}).reshaped({1, 2}), ids({0}), ids({length}), page_rows, args,
                           *stream_);
    stream_->synchronize();
  };
  EXPECT_THROW(attend(24, 0, 1), Error);
  EXPECT_THROW(attend(8, 0, 1), Error);
  EXPECT_THROW(attend(32, 0, 1), Error);  // 48 rows are not whole pages of 32
  EXPECT_NO_THROW(attend(16, 2, 17));
  if (ops_->device().kind == Device::Kind::cuda) return;
  EXPECT_THROW(attend(16, 3, 1), Error);
  EXPECT_THROW(attend(16, 0, 33), Error);
}

INSTANTIATE_TEST_SUITE_P(Backends, AttentionCachedTest, testing::ValuesIn(attention_settings()),
                         attention_setting_name);

}  // namespace
}  // namespace athanor
