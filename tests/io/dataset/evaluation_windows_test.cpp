#include "io/dataset/evaluation_windows.hpp"

#include "tests/io/dataset/dataset_fixture.hpp"

namespace athanor {
namespace {
using namespace athanor::testing;

class EvaluationWindowsTest : public ::testing::Test {
 protected:
  ScratchFolder folder_;
  const ByteTokenizer tokenizer_;
};

// Where documents are isolated the target behind an eos, which the model is never taught, is not scored.
TEST_F(EvaluationWindowsTest, IsolatedDocumentsDoNotScoreTheirFirstToken) {
  const auto file = make_token_file(folder_ / "a.h5", {6, 4});
  const EvaluationWindows windows({TokenDataset(file)}, tokenizer_, 4, true);
  std::vector<std::int32_t> row(5);
  const auto window = windows.read(1, row);
  EXPECT_EQ(row, (std::vector<std::int32_t>{4, 257, 6, 7, 8}));
  EXPECT_EQ(window.num_targets, 4);
  EXPECT_EQ(window.num_scored, 3);
  EXPECT_EQ(window.text_bytes, 2);
}

// By hand: 10 tokens in windows of 4 are 4 + 4 + 1 targets; eos stands for no bytes; padding is eos.
TEST_F(EvaluationWindowsTest, ByHand) {
  const auto file = make_token_file(folder_ / "a.h5", {6, 4});
  const EvaluationWindows windows({TokenDataset(file)}, tokenizer_, 4, false);
  ASSERT_EQ(windows.num_windows(), 3);
  std::vector<std::int32_t> row(5);
  auto window = windows.read(1, row);
  EXPECT_EQ(row, (std::vector<std::int32_t>{4, 257, 6, 7, 8}));
  EXPECT_EQ(window.num_targets, 4);
  EXPECT_EQ(window.text_bytes, 3);
  window = windows.read(2, row);
  EXPECT_EQ(row, (std::vector<std::int32_t>{8, 257, 257, 257, 257}));
  EXPECT_EQ(window.num_targets, 1);
  EXPECT_EQ(window.text_bytes, 0);
  EXPECT_THROW(windows.read(3, row), Error);
}

// Over all windows of all sources every token but each source's first is a target once, in order.
TEST_F(EvaluationWindowsTest, EveryTokenOnce) {
  const auto first = make_token_file(folder_ / "a.h5", {33, 20}), second = make_token_file(folder_ / "b.h5", {70});
  for (const std::int64_t length : {1, 7, 52, 100}) {
    const EvaluationWindows windows({TokenDataset(first), TokenDataset(second, 10, 41)}, tokenizer_, length, false);
    std::vector<std::int32_t> targets, row(static_cast<std::size_t>(length) + 1);
    std::int64_t bytes = 0;
    for (std::int64_t w = 0; w < windows.num_windows(); ++w) {
      const auto window = windows.read(w, row);
      targets.insert(targets.end(), row.begin() + 1, row.begin() + 1 + window.num_targets);
      bytes += window.text_bytes;
    }
    std::vector<std::int32_t> expected(52 + 30);
    first->read_tokens(1, std::span(expected).first(52));
    second->read_tokens(11, std::span(expected).subspan(52));
    EXPECT_EQ(targets, expected) << length;
    EXPECT_EQ(bytes, 52 - 2 + 30) << length;
  }
}

// Nothing to evaluate on is the user's to mend.
TEST_F(EvaluationWindowsTest, NoText) {
  const auto file = make_token_file(folder_ / "a.h5", {10});
  EXPECT_THROW(EvaluationWindows({TokenDataset(file, 10, 10)}, tokenizer_, 4, false), ConfigError);
  EXPECT_THROW(EvaluationWindows({}, tokenizer_, 4, false), ConfigError);
}

}  // namespace
}  // namespace athanor
