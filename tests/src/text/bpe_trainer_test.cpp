#include "src/text/bpe_trainer.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>

#include "src/base/error.hpp"

namespace athanor {
namespace {

const std::vector<std::string> kWholeText{R"((?s).+)"};  // one pre-token

// Worked by hand. "aaabdaaabac": aa 4 times -> 256; then Zabd Zab ac has Za and ab twice, ab = (97,98) is the lower
// pair
// -> 257; then ZY twice -> 258; then every pair stands once.
TEST(BpeTrainer, GoldenCase) {
  BpeTrainer trainer({.vocab_size = 259, .patterns = kWholeText, .special_tokens = {}});
  trainer.add("aaabdaaabac");

  const auto tokenizer = trainer.train();

  EXPECT_EQ(tokenizer->model().merges, (std::vector<Merge>{{'a', 'a', 256}, {'a', 'b', 257}, {256, 257, 258}}));
  EXPECT_EQ(tokenizer->encode("aaabdaaabac"), (std::vector<std::int32_t>{258, 'd', 258, 'a', 'c'}));
}

// Text with too few pairs is an error that names the size it can fill, or fills that size where it may.
TEST(BpeTrainer, TooLittleText) {
  BpeTrainer trainer({.vocab_size = 300, .patterns = kWholeText, .special_tokens = {}});
  trainer.add("aaabdaaabac");
  try {
    trainer.train();
    FAIL() << "nothing was thrown";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("vocabulary of 259 tokens only"), std::string::npos) << error.what();
  }
  BpeTrainer content({.vocab_size = 300, .may_be_smaller = true, .patterns = kWholeText, .special_tokens = {}});
  content.add("aaabdaaabac");
  EXPECT_EQ(content.train()->vocab_size(), 259);
  EXPECT_THROW(BpeTrainer({.vocab_size = 270}), ConfigError);
}

/// Recounts every pair before each merge.
std::vector<Merge> slow_training(const std::vector<std::string>& words, std::int32_t num_merges) {
  std::vector<std::vector<std::int32_t>> sequences;
  for (const std::string& word : words) {
    sequences.emplace_back();
    for (const char byte : word) sequences.back().push_back(static_cast<unsigned char>(byte));
  }
  std::vector<Merge> merges;
  for (std::int32_t result = 256; result < 256 + num_merges; ++result) {
    std::map<std::pair<std::int32_t, std::int32_t>, int> counts;
    for (const auto& ids : sequences)
      for (std::size_t i = 0; i + 1 < ids.size(); ++i) ++counts[{ids[i], ids[i + 1]}];
    auto best = counts.begin();
    for (auto it = counts.begin(); it != counts.end(); ++it)
      if (it->second > best->second) best = it;
    const Merge merge{best->first.first, best->first.second, result};
    merges.push_back(merge);
    for (auto& ids : sequences) {
      std::vector<std::int32_t> merged;
      for (std::size_t i = 0; i < ids.size(); ++i) {
        const bool match = i + 1 < ids.size() && ids[i] == merge.left && ids[i + 1] == merge.right;
        merged.push_back(match ? result : ids[i]);
        i += match ? 1 : 0;
      }
      ids = std::move(merged);
    }
  }
  return merges;
}

const std::vector<std::string> kTexts{"the cat sat on the mat", "aaaa aaa aaaaaaaa banana bananas",
                                      "今天天气很好 今天我们 天气", "he hears her here, there and everywhere",
                                      "mississippi mississippi misses missiles"};

// The incremental counts give what counting anew before every merge gives.
TEST(BpeTrainer, EqualsRecounting) {
  const PreTokenizer pre_tokenizer(default_pre_token_patterns());
  std::vector<std::string> words;
  BpeTrainer trainer({.vocab_size = 256 + 25, .special_tokens = {}});
  for (const std::string& text : kTexts) {
    trainer.add(text);
    std::vector<std::string_view> pieces;
    PreTokenizer::Scratch scratch;
    pre_tokenizer.split(text, pieces, scratch);
    words.insert(words.end(), pieces.begin(), pieces.end());
  }
  EXPECT_EQ(trainer.train()->model().merges, slow_training(words, 25));
}

// The result depends on the texts, not on their order.
TEST(BpeTrainer, OrderOfTextsDoesNotMatter) {
  BpeTrainer forward({.vocab_size = 290}), backward({.vocab_size = 290});
  for (std::size_t i = 0; i < kTexts.size(); ++i) {
    forward.add(kTexts[i]);
    backward.add(kTexts[kTexts.size() - 1 - i]);
  }
  EXPECT_EQ(forward.train()->content_hash(), backward.train()->content_hash());
}

// Real text: 8k tokens are learned in seconds (the test's time limit), and the text shrinks to under a third.
TEST(BpeTrainer, RealText) {
  const char* folder = std::getenv("ATHANOR_TEST_DATA");
  const std::string file = std::string(folder ? folder : ATHANOR_SOURCE_DIR "/../shared/data") + "/tinyshakespeare.txt";
  std::ifstream in(file);
  if (!in) GTEST_SKIP() << "no " << file << " (set ATHANOR_TEST_DATA to the folder that has tinyshakespeare.txt)";
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  BpeTrainer trainer({.vocab_size = 8192});
  trainer.add(text);

  const auto tokenizer = trainer.train();
  const auto ids = tokenizer->encode(text);

  EXPECT_EQ(tokenizer->vocab_size(), 8192);
  EXPECT_LT(3 * ids.size(), text.size());
  EXPECT_TRUE(tokenizer->decode(ids) == text);
}

}  // namespace
}  // namespace athanor
