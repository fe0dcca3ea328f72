// The order of fine-tuning examples, what is held out, and how a batch is dealt to ranks.
#include "jobs/sft/example_set.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "src/base/error.hpp"
#include "tests/support/scratch_folder.hpp"

namespace athanor {
namespace {

std::vector<Example> numbered(std::int32_t count) {
  std::vector<Example> examples;
  for (std::int32_t i = 0; i < count; ++i) examples.push_back({{1, i}, {0, 1}});
  return examples;
}

/// Through a file.
ExampleSet set_of(const std::vector<Example>& examples, std::uint64_t seed) {
  const testing::ScratchFolder folder;
  write_examples(folder / "examples.h5", examples, "of a test");
  EXPECT_TRUE(has_examples(folder / "examples.h5", "of a test"));
  EXPECT_FALSE(has_examples(folder / "examples.h5", "of another"));
  return {ExampleFile(folder / "examples.h5"), seed};
}

// What was written is read: tokens from 0 on, and which of them are learned.
TEST(ExampleFile, KeepsTokensAndMask) {
  const testing::ScratchFolder folder;
  const std::vector<Example> examples{{{0, 5, 0, 131071}, {0, 1, 1, 0}}, {{7}, {1}}};
  write_examples(folder / "data/examples.h5", examples, "");
  const ExampleFile file(folder / "data/examples.h5");
  ASSERT_EQ(file.size(), 2);
  for (std::int64_t i = 0; i < 2; ++i) {
    EXPECT_EQ(file.example(i).tokens, examples[static_cast<std::size_t>(i)].tokens);
    EXPECT_EQ(file.example(i).learned, examples[static_cast<std::size_t>(i)].learned);
  }
  EXPECT_FALSE(has_examples(folder / "none.h5", ""));
}

// An epoch shows each example once, the next one in another order, and the order follows from the seed alone.
TEST(ExampleSet, EpochsVisitEachOnce) {
  const ExampleSet set = set_of(numbered(50), 3), twin = set_of(numbered(50), 3);
  std::vector<std::int32_t> first, second;
  for (std::int64_t k = 0; k < 50; ++k) {
    first.push_back(set.example(k).tokens[1]);
    second.push_back(set.example(50 + k).tokens[1]);
    EXPECT_EQ(set.example(k).tokens, twin.example(k).tokens);
  }
  EXPECT_NE(first, second);
  for (auto* epoch : {&first, &second}) EXPECT_EQ(std::set(epoch->begin(), epoch->end()).size(), 50U);
}

// Held out and trained on are disjoint and complete; a small share holds out one at least.
TEST(ExampleSet, HoldsOutAShare) {
  ExampleSet set = set_of(numbered(50), 3);
  const auto held_out = set.hold_out(0.2);
  EXPECT_EQ(held_out.size(), 10U);
  std::set<std::int32_t> all;
  for (const Example& example : held_out) all.insert(example.tokens[1]);
  for (std::int64_t k = 0; k < set.size(); ++k) all.insert(set.example(k).tokens[1]);
  EXPECT_EQ(all.size(), 50U);
  EXPECT_EQ(set_of(numbered(50), 3).hold_out(1e-9).size(), 1U);
  EXPECT_TRUE(set_of(numbered(50), 3).hold_out(0.0).empty());
}

// Another token, another mask or another seed is another set: a run does not go on with it unseen.
TEST(ExampleSet, FingerprintSeesEverything) {
  auto other_token = numbered(5), other_mask = numbered(5);
  other_token[3].tokens[1] = 77;
  other_mask[3].learned[0] = 1;
  const std::uint64_t own = set_of(numbered(5), 3).fingerprint();
  EXPECT_NE(own, set_of(other_token, 3).fingerprint());
  EXPECT_NE(own, set_of(other_mask, 3).fingerprint());
  EXPECT_NE(own, set_of(numbered(5), 4).fingerprint());
  EXPECT_THROW(set_of({}, 1), ConfigError);
}

// All are dealt once, and no rank has more tokens than another by more than the longest.
TEST(DealByLength, EvensOutTokens) {
  const std::vector<std::int64_t> lengths{9, 1, 7, 3, 8, 2, 5, 5, 4, 6};
  const auto dealt = deal_by_length(lengths, 3);
  std::vector<std::int64_t> sums;
  std::set<std::size_t> all;
  for (const auto& list : dealt) {
    sums.push_back(0);
    for (const std::size_t i : list) {
      sums.back() += lengths[i];
      all.insert(i);
    }
  }
  EXPECT_EQ(all.size(), lengths.size());
  EXPECT_LE(*std::max_element(sums.begin(), sums.end()) - *std::min_element(sums.begin(), sums.end()), 9);
}

}  // namespace
}  // namespace athanor
