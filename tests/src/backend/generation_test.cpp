// What keeps generation on the device: rows of a cache, keys of random draws, steps of sequences.
#include "src/base/error.hpp"
#include "src/base/sampling_key.hpp"
#include "tests/support/device_fixture.hpp"
#include "tests/support/reference_ops.hpp"

namespace athanor {
namespace {

using Ids = std::vector<std::int32_t>;

class GenerationTest : public DeviceTest {
 protected:
  Tensor ids_of(const Ids& values) { return ids(values, {std::ssize(values)}); }
};

// Promise: a token's row is its place in the page of its slot, nowhere for a row that counts for nothing; a slot or a
// place that does not exist is told.
TEST_P(GenerationTest, CacheRows) {
  const Ids pages{4, 0, 7, 2, 2, 9}, slots{0, 1, 1, 0, 1}, positions{0, 15, 16, 47, 33}, lengths{1, 16, 17, 48, 0};
  Tensor rows_R = output_ids({5});
  ops().cache_rows(rows_R, ids(pages, {2, 3}), ids_of(slots), ids_of(positions), ids_of(lengths), 16, stream());
  EXPECT_EQ(read_ids(rows_R), reference::cache_rows(pages, 3, slots, positions, lengths, 16));
  EXPECT_EQ(read_ids(rows_R), (Ids{64, 47, 32, 127, -1}));
  const auto refuses = [&](std::int32_t slot, std::int32_t position, std::int64_t page_rows) {
    Tensor row = output_ids({1});
    ops().cache_rows(row, ids(pages, {2, 3}), ids_of({slot}), ids_of({position}), ids_of({position + 1}), page_rows,
                     stream());
    stream().synchronize();
  };
  EXPECT_THROW(refuses(2, 0, 16), Error);
  EXPECT_THROW(refuses(-1, 0, 16), Error);
  EXPECT_THROW(refuses(0, 48, 16), Error);
  EXPECT_THROW(refuses(0, 0, 12), Error);
  EXPECT_NO_THROW(refuses(1, 47, 16));
}

// Promise: keys are those of the host's function, for ids beyond 32 bits too.
TEST_P(GenerationTest, SamplingKeys) {
  const std::vector<std::int64_t> prompts{0, 7, -3, std::int64_t{5} << 40};
  const Ids siblings{0, 3, 15, 1}, counts_R{0, 9, 100000, 2};
  Tensor keys_R = ops().empty({4}, DType::i64);
  ops().sampling_keys(keys_R, counts(prompts), ids_of(siblings), ids_of(counts_R), stream());
  std::vector<std::int64_t> keys(4);
  ops().download(std::as_writable_bytes(std::span(keys)), keys_R, stream());
  stream().synchronize();
  for (std::size_t r = 0; r < 4; ++r) EXPECT_EQ(keys[r], sampling_key(prompts[r], siblings[r], counts_R[r])) << r;
}

// Promise: steps write what was drawn until a stop id or the last token, and nothing after; a step past the end of the
// record is told.
TEST_P(GenerationTest, AdvancesRowsUntilTheyEnd) {
  for (const std::int64_t rows : {4, 700}) {  // more than a block has threads
    const auto wide = [&](Ids values) {
      values.resize(static_cast<std::size_t>(rows), 0);
      return values;
    };
    const WrittenRows written{ids_of(wide({1, 2, 3, 4})), ids_of(wide({5, 6, 7, 8})), ids_of(wide({6, 7, 8, 0})),
                              ids_of(wide({0, 2, 0, 0}))};
    Tensor tokens_NR = output_ids({2, rows}), logprobs_NR = output({2, rows}, acc()), step_1 = ids_of({0});
    const auto step = [&](const Ids& drawn, const std::vector<double>& logprobs) {
      std::vector<double> all = logprobs;
      all.resize(static_cast<std::size_t>(rows), 0.0);
      ops().advance_rows(written, tokens_NR, logprobs_NR, step_1, ids_of(wide(drawn)), tensor(all, {rows}, acc()),
                         ids_of({99, 50}), 3, stream());
    };
    step({10, 11, 50, 12}, {-0.5, -1.5, -2.5, -3.5});
    step({20, 21, 22, 23}, {-0.25, -1.25, -2.25, -3.25});

    const auto first_four = [](auto values, std::int64_t from) {
      return decltype(values)(values.begin() + from, values.begin() + from + 4);
    };
    EXPECT_EQ(first_four(read_ids(tokens_NR), 0), (Ids{10, 11, 50, -1}));
    EXPECT_EQ(first_four(read_ids(tokens_NR), rows), (Ids{20, -1, -1, -1}));
    EXPECT_EQ(first_four(read(logprobs_NR), 0), (std::vector<double>{-0.5, -1.5, -2.5, 0}));
    EXPECT_EQ(first_four(read(logprobs_NR), rows), (std::vector<double>{-0.25, 0, 0, 0}));
    EXPECT_EQ(first_four(read_ids(written.tokens_R), 0), (Ids{20, 11, 50, 4}));
    EXPECT_EQ(first_four(read_ids(written.positions_R), 0), (Ids{7, 7, 8, 8}));
    EXPECT_EQ(first_four(read_ids(written.lengths_R), 0), (Ids{8, 0, 0, 0}));
    EXPECT_EQ(first_four(read_ids(written.counts_R), 0), (Ids{2, 3, 1, 0}));
    EXPECT_EQ(read_ids(step_1), (Ids{2}));
    EXPECT_THROW(
        {
          step({0, 0, 0, 0}, {0, 0, 0, 0});
          stream().synchronize();
        },
        Error);
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, GenerationTest, testing::ValuesIn(device_cases()), device_case_name);

}  // namespace
}  // namespace athanor
