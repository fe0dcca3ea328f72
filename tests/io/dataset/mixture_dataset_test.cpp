#include "io/dataset/mixture_dataset.hpp"

#include <array>
#include <map>
#include <set>

#include "tests/io/dataset/dataset_fixture.hpp"

namespace athanor {
namespace {
using namespace athanor::testing;

class MixtureDatasetTest : public ::testing::Test {
 protected:
  TokenDataset source(std::int64_t tokens) {
    const std::string path = folder_ / ("tokens_" + std::to_string(tokens) + ".h5");
    return TokenDataset(make_token_file(path, {tokens / 2, tokens - tokens / 2}));
  }
  ScratchFolder folder_;
};

// An epoch visits each of its windows once: S apart, inside the source; the next epoch cuts elsewhere and in another
// order.
TEST_F(MixtureDatasetTest, EveryWindowOfAnEpochOnce) {
  constexpr std::int64_t kLength = 16, kTokens = 1000;
  const MixtureDataset data({{source(kTokens)}}, kLength, 3);
  const std::int64_t windows = data.windows_per_epoch(0);
  EXPECT_EQ(windows, (kTokens - 1) / kLength - 1);
  std::set<std::int64_t> offsets;
  std::vector<std::int64_t> first_order;
  for (std::int64_t epoch = 0; epoch < 8; ++epoch) {
    std::set<std::int64_t> begins;
    std::vector<std::int64_t> order;
    for (std::int64_t i = 0; i < windows; ++i) {
      const auto window = data.window(epoch * windows + i);
      EXPECT_EQ(window.epoch, epoch);
      begins.insert(window.begin);
      order.push_back(window.begin / kLength);
    }
    EXPECT_EQ(static_cast<std::int64_t>(begins.size()), windows);
    EXPECT_EQ(*begins.rbegin() - *begins.begin(), (windows - 1) * kLength);
    EXPECT_LT(*begins.begin(), kLength);
    EXPECT_LE(*begins.rbegin() + kLength + 1, kTokens);
    offsets.insert(*begins.begin());
    if (epoch == 0) first_order = order;
    EXPECT_EQ(order == first_order, epoch == 0);
  }
  EXPECT_GT(offsets.size(), 4U);
}

// A sample is the S+1 tokens at its window.
TEST_F(MixtureDatasetTest, SampleIsTheTextAtItsWindow) {
  const TokenDataset tokens = source(1000);
  const MixtureDataset data({{tokens}}, 16, 3);
  std::array<std::int32_t, 17> sample{}, expected{};
  data.sample(37, sample);
  tokens.read(data.window(37).begin, expected);
  EXPECT_EQ(sample, expected);
}

// Going on at sample n gives what reading from the start gives there; and rows read by any number of ranks, in any
// shares, are the rows one rank reads.
TEST_F(MixtureDatasetTest, ResumesAndSharesOutWithoutATrace) {
  const auto make = [&] { return MixtureDataset({{source(1000), 3.0}, {source(700), 1.0}}, 8, 5); };
  const MixtureDataset straight = make(), resumed = make();
  constexpr std::size_t kRow = 9, kBatch = 12;
  std::vector<std::int32_t> from_start(200 * kRow), later(kBatch * kRow);
  straight.samples(0, from_start);
  resumed.samples(188, later);
  EXPECT_TRUE(std::equal(later.begin(), later.end(), from_start.begin() + 188 * kRow));
  for (const std::size_t ranks : {1U, 2U, 3U, 4U}) {
    std::vector<std::int32_t> joined;
    for (std::size_t rank = 0; rank < ranks; ++rank) {
      std::vector<std::int32_t> share(kBatch / ranks * kRow);
      make().samples(static_cast<std::int64_t>(188 + rank * kBatch / ranks), share);
      joined.insert(joined.end(), share.begin(), share.end());
    }
    EXPECT_EQ(joined, later) << ranks;
  }
}

// Sources have their share of every stretch of samples, to one sample; each goes through its own windows in turn.
TEST_F(MixtureDatasetTest, Proportions) {
  const MixtureDataset data({{source(1000), 5.0}, {source(700), 2.0}, {source(400), 1.0}}, 8, 5);
  EXPECT_EQ(data.share(0), 0.625);
  std::array<int, 3> counts{};
  std::array<std::map<std::int64_t, std::set<std::int64_t>>, 3> begins;
  for (std::int64_t i = 0; i < 800; ++i) {
    const auto window = data.window(i);
    ++counts[window.source];
    EXPECT_TRUE(begins[window.source][window.epoch].insert(window.begin).second);
    if ((i + 1) % 8 == 0) {
      EXPECT_EQ(counts[0], (i + 1) / 8 * 5);
      EXPECT_EQ(counts[1], (i + 1) / 8 * 2);
    }
  }
  EXPECT_DOUBLE_EQ(data.epochs(1, 800), 200.0 / static_cast<double>(data.windows_per_epoch(1)));
}

// The order of a seed is a promise to runs that resume under a later version: these numbers must not change.
TEST_F(MixtureDatasetTest, GoldenOrder) {
  const MixtureDataset data({{source(1000), 5.0}, {source(700), 2.0}, {source(400), 1.0}}, 8, 5);
  std::vector<std::size_t> sources;
  std::vector<std::int64_t> begins;
  for (const std::int64_t i : {0, 1, 2, 3, 4, 5, 6, 7, 1000, 1001}) {
    sources.push_back(data.window(i).source);
    begins.push_back(data.window(i).begin);
  }
  EXPECT_EQ(sources, (std::vector<std::size_t>{0, 1, 0, 0, 2, 0, 1, 0, 0, 1}));
  EXPECT_EQ(begins, (std::vector<std::int64_t>{421, 654, 597, 205, 76, 261, 294, 677, 261, 645}));
}

// A weight below a slot of the cycle still has one; odd weights are met to a slot.
TEST_F(MixtureDatasetTest, SmallWeights) {
  const MixtureDataset data({{source(1000), 1.0}, {source(700), 1e-6}}, 8, 5);
  EXPECT_DOUBLE_EQ(data.share(1), 1.0 / 4096.0);
  const MixtureDataset thirds({{source(1000), 1.0}, {source(700), 1.0}, {source(400), 1.0}}, 8, 5);
  for (std::size_t s = 0; s < 3; ++s) EXPECT_NEAR(thirds.share(s), 1.0 / 3.0, 1.0 / 4096.0);
}

// A source of exactly one window gives that window for ever.
TEST_F(MixtureDatasetTest, OneWindow) {
  const MixtureDataset data({{source(17)}}, 16, 1);
  EXPECT_EQ(data.windows_per_epoch(0), 1);
  for (std::int64_t i = 0; i < 5; ++i) EXPECT_EQ(data.window(i).begin, 0);
}

// The fingerprint tells other data, lengths, weights and seeds apart, and is the same for the same tokens elsewhere.
TEST_F(MixtureDatasetTest, Fingerprint) {
  const auto of = [&](std::int64_t tokens, double weight, std::int64_t length, std::uint64_t seed) {
    return MixtureDataset({{source(tokens), weight}, {source(700), 1.0}}, length, seed).fingerprint();
  };
  const std::uint64_t reference = of(1000, 2.0, 8, 1);
  EXPECT_EQ(of(1000, 2.0, 8, 1), reference);
  EXPECT_EQ(of(1000, 2.0, 8, 1), reference);
  EXPECT_NE(of(1002, 2.0, 8, 1), reference);
  EXPECT_NE(of(1000, 3.0, 8, 1), reference);
  EXPECT_NE(of(1000, 2.0, 9, 1), reference);
  EXPECT_NE(of(1000, 2.0, 8, 2), reference);
  const auto moved = TokenDataset(make_token_file(folder_ / "moved.h5", {500, 500}));
  EXPECT_EQ(MixtureDataset({{moved, 2.0}, {source(700), 1.0}}, 8, 1).fingerprint(), reference);
}

// Too little text, no text and bad weights are the user's to mend.
TEST_F(MixtureDatasetTest, Refusals) {
  EXPECT_CONTAINS(message_of<ConfigError>([&] { MixtureDataset({{source(16)}}, 16, 1); }),
                  "16 tokens to train on, but a sample needs 17");
  EXPECT_THROW(MixtureDataset({}, 16, 1), ConfigError);
  EXPECT_THROW(MixtureDataset({{source(1000), 0.0}}, 16, 1), ConfigError);
}

}  // namespace
}  // namespace athanor
