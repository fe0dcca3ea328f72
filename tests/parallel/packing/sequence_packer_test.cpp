// Where sequences lie in the rows of micro-batches, and what the tensors say of them.
#include "parallel/packing/sequence_packer.hpp"

#include <gtest/gtest.h>

#include <map>

#include "src/base/error.hpp"

namespace athanor {
namespace {

struct Packing {
  std::unique_ptr<Backend> ops = make_backend("cpu");
  std::unique_ptr<Stream> stream = ops->make_stream();
  std::vector<std::vector<std::int32_t>> tokens;
  std::vector<TokenSequence> sequences;

  /// Sequences of these lengths; token i of sequence s is 100 s + i.
  explicit Packing(const std::vector<std::size_t>& lengths) {
    for (const std::size_t length : lengths) {
      tokens.emplace_back();
      for (std::size_t i = 0; i < length; ++i)
        tokens.back().push_back(static_cast<std::int32_t>(100 * (tokens.size() - 1) + i));
    }
    for (const auto& list : tokens) sequences.push_back({std::span(list).first(1), std::span(list).subspan(1)});
  }
  std::vector<std::int32_t> ids(const Tensor& tensor) {
    std::vector<std::int32_t> values(static_cast<std::size_t>(tensor.numel()));
    ops->download(std::as_writable_bytes(std::span(values)), tensor, *stream);
    stream->synchronize();
    return values;
  }
};

// Every token of every sequence but the last is an input once, its follower the target, positions begin at 0 and
// nothing reaches into a neighbour.
TEST(SequencePacker, TensorsHoldEachSequenceOnce) {
  Packing packing({5, 3, 8, 2, 4, 6});
  SequencePacker packer(*packing.ops, {.row_tokens = 8, .rows_per_batch = 2});

  packer.pack(packing.sequences);

  std::map<std::int32_t, int> seen;
  for (std::size_t m = 0; std::cmp_less(m, packer.num_micro_batches()); ++m) {
    const MicroBatch batch = packer.build(m, packing.sequences, *packing.stream);
    const auto tokens = packing.ids(batch.tokens_T), targets = packing.ids(batch.targets_T);
    const auto positions = packing.ids(batch.positions_T), begins = packing.ids(batch.key_begin_T);
    ASSERT_EQ(tokens.size(), 16U);
    for (std::size_t s = 0; s < packing.tokens.size(); ++s) {
      const auto place = packer.place_of(s);
      if (place.micro_batch != m) continue;
      EXPECT_EQ(place.first / 8, (place.first + packing.tokens[s].size() - 2) / 8) << "a sequence crosses rows";
      for (std::size_t i = 0; i + 1 < packing.tokens[s].size(); ++i) {
        EXPECT_EQ(tokens[place.first + i], packing.tokens[s][i]);
        EXPECT_EQ(targets[place.first + i], packing.tokens[s][i + 1]);
        EXPECT_EQ(positions[place.first + i], static_cast<std::int32_t>(i));
        EXPECT_EQ(begins[place.first + i], static_cast<std::int32_t>(place.first));
        ++seen[packing.tokens[s][i]];
      }
    }
  }
  EXPECT_EQ(seen.size(), 4U + 2U + 7U + 1U + 3U + 5U);
  for (const auto& [token, times] : seen) EXPECT_EQ(times, 1) << token;
  // 7 + 1 and 5 + 3 (of 8 places each) in the first micro-batch, 4 + 2 in the second.
  EXPECT_EQ(packer.num_micro_batches(), 2);
  EXPECT_EQ(rows_needed({4, 2, 7, 1, 3, 5}, 8), 3);
}

// Members of a group share a micro-batch, however well they would fit elsewhere.
TEST(SequencePacker, GroupsStayTogether) {
  Packing packing({8, 3, 3, 8, 3, 3, 8, 2});
  SequencePacker packer(*packing.ops, {.row_tokens = 8, .rows_per_batch = 2});
  const std::vector<std::int64_t> groups{7, 7, 7, 9, 9, 9, 4, 4};

  packer.pack(packing.sequences, groups);

  for (std::size_t i = 0; i < groups.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (groups[i] == groups[j]) {
        EXPECT_EQ(packer.place_of(i).micro_batch, packer.place_of(j).micro_batch) << i << " " << j;
      }
}

// What cannot be placed is named with its size, before anything is built.
TEST(SequencePacker, RefusesWhatDoesNotFit) {
  Packing packing({11, 9, 9, 9});
  SequencePacker packer(*packing.ops, {.row_tokens = 9, .rows_per_batch = 2});
  EXPECT_THROW(packer.pack(packing.sequences), ConfigError);
  const std::vector<std::int64_t> together{1, 1, 1};
  EXPECT_THROW(packer.pack(std::span(packing.sequences).subspan(1), together), ConfigError);
  EXPECT_THROW(SequencePacker(*packing.ops, {.row_tokens = 9, .rows_per_batch = 3, .tp_size = 2}), ConfigError);
}

// A micro-batch past the last counts for nothing and reaches nothing.
TEST(SequencePacker, EmptyMicroBatch) {
  Packing packing({4});
  SequencePacker packer(*packing.ops, {.row_tokens = 4, .rows_per_batch = 2});
  packer.pack(packing.sequences);
  const MicroBatch batch = packer.build(5, packing.sequences, *packing.stream);
  for (const std::int32_t id : packing.ids(batch.tokens_T)) EXPECT_EQ(id, 0);
  const auto begins = packing.ids(batch.key_begin_T);
  for (std::size_t t = 0; t < begins.size(); ++t) EXPECT_EQ(begins[t], static_cast<std::int32_t>(t));
}

}  // namespace
}  // namespace athanor
