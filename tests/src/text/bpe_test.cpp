#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <thread>

#include "src/base/error.hpp"
#include "src/base/rng.hpp"
#include "src/text/bpe_trainer.hpp"

namespace athanor {
namespace {
namespace fs = std::filesystem;

const std::string kCorpus =
    "The cat sat on the mat. The cats sat on the mats; the rat, that fat rat, sat with the cat.\n"
    "你好，世界！世界你好。今天天气很好，今天我们去公园。\n"
    "12345 123456 1234567 aaaa aaaaaaa aaaaaaaaaaaa été été naïve naïve 😀😀😀 😀😀\n";

std::unique_ptr<BpeTokenizer> trained_on_corpus() {
  BpeTrainer trainer({.vocab_size = 256 + 15 + 50});
  trainer.add(kCorpus);
  return trainer.train();
}

/// The law of BPE as it is written: merge the lowest-ranked pair, leftmost first, until none is left.
std::vector<std::int32_t> slow_bpe(std::vector<std::int32_t> ids, const std::vector<Merge>& merges) {
  std::map<std::pair<std::int32_t, std::int32_t>, std::size_t> ranks;
  for (std::size_t rank = 0; rank < merges.size(); ++rank) ranks[{merges[rank].left, merges[rank].right}] = rank;
  for (;;) {
    std::size_t best_rank = merges.size(), best = 0;
    for (std::size_t i = 0; i + 1 < ids.size(); ++i)
      if (const auto found = ranks.find({ids[i], ids[i + 1]}); found != ranks.end() && found->second < best_rank) {
        best_rank = found->second;
        best = i;
      }
    if (best_rank == merges.size()) return ids;
    ids[best] = merges[best_rank].result;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

// Scanning (short) and heap (long) both give what the definition gives: random tables whose pairs overlap in every way,
// on random strings of every length to 200.
TEST(MergeTable, EqualsTheDefinition) {
  const Philox random(3, RandomPurpose::test);
  std::uint64_t draw = 0;
  const auto below = [&](std::uint64_t count) { return static_cast<std::int32_t>(random.word64(draw++) % count); };
  for (std::uint64_t length = 0; length < 200; ++length) {
    const std::uint64_t letters = 1 + length % 4;
    std::vector<Merge> merges;
    std::set<std::pair<std::int32_t, std::int32_t>> taken;
    for (std::int32_t result = 4; result < 30; ++result) {
      const std::int32_t left = below(static_cast<std::uint64_t>(result)),
                         right = below(static_cast<std::uint64_t>(result));
      if (taken.emplace(left, right).second) merges.push_back({left, right, result});
    }
    std::vector<std::int32_t> ids;
    for (std::uint64_t i = 0; i < length; ++i) ids.push_back(below(letters));
    std::vector<std::int32_t> merged = ids;
    MergeTable(merges).apply(merged);
    EXPECT_EQ(merged, slow_bpe(ids, merges)) << "length " << length;
  }
}

// encode = pre-split, then the definition inside every piece; a second call (from the cache) gives the same.
TEST(BpeTokenizer, EncodeEqualsSlowReference) {
  const auto tokenizer = trained_on_corpus();
  const PreTokenizer pre_tokenizer(tokenizer->model().patterns);
  const std::vector<std::string> parts{"the", "cat", " ", "sat", "aaaa", "世界", "你好",
                                       "123", "4",   "é", "😀",   "\n",   "，",   "q"};
  const Philox random(4, RandomPurpose::test);
  for (std::uint64_t round = 0; round < 200; ++round) {
    std::string text;
    for (std::uint64_t i = 0; i < 30; ++i) text += parts[random.word64(round * 30 + i) % parts.size()];
    std::vector<std::string_view> pieces;
    PreTokenizer::Scratch scratch;
    pre_tokenizer.split(text, pieces, scratch);
    std::vector<std::int32_t> expected;
    for (const std::string_view piece : pieces) {
      std::vector<std::int32_t> ids;
      for (const char byte : piece) ids.push_back(static_cast<unsigned char>(byte));
      ids = slow_bpe(ids, tokenizer->model().merges);
      expected.insert(expected.end(), ids.begin(), ids.end());
    }
    EXPECT_EQ(tokenizer->encode(text), expected) << text;
    EXPECT_EQ(tokenizer->encode(text), expected) << text;
  }
}

// Any well-formed text comes back byte for byte: random characters of all of Unicode, and known trouble.
TEST(BpeTokenizer, RoundTrip) {
  const auto tokenizer = trained_on_corpus();
  const auto check = [&](const std::string& text) {
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, {.allow_special = true})), text);
  };
  check("");
  check(std::string("\0\0 \r\n\r\n\t", 8));
  check("你好，世界 👩‍👩‍👧‍👦 🇫🇷 e\u0301 \u3000 ﷽ <｜User｜>hi<｜Assistant｜>");
  check(kCorpus);
  const Philox random(6, RandomPurpose::test);
  for (std::uint64_t round = 0; round < 100; ++round) {
    std::string text;
    for (std::uint64_t i = 0; i < 50; ++i) {
      auto code = static_cast<std::uint32_t>(random.word64(round * 50 + i) % (i % 2 == 0 ? 0x110000 : 0x800));
      if (code >= 0xD800 && code < 0xE000) code = ' ';
      const auto put = [&](std::uint32_t byte) { text += static_cast<char>(byte); };
      if (code < 0x80) {
        put(code);
      } else if (code < 0x800) {
        put(0xC0 | code >> 6), put(0x80 | (code & 63));
      } else if (code < 0x10000) {
        put(0xE0 | code >> 12), put(0x80 | (code >> 6 & 63)), put(0x80 | (code & 63));
      } else {
        put(0xF0 | code >> 18), put(0x80 | (code >> 12 & 63)), put(0x80 | (code >> 6 & 63)), put(0x80 | (code & 63));
      }
    }
    check(text);
  }
}

// Special tokens follow the merges, parse on request and stand for no text.
TEST(BpeTokenizer, SpecialTokens) {
  const auto tokenizer = trained_on_corpus();
  EXPECT_EQ(tokenizer->vocab_size(), 321);
  EXPECT_EQ(tokenizer->bos_id(), 306);
  EXPECT_EQ(tokenizer->encode("<｜end▁of▁sentence｜>", {.allow_special = true}),
            std::vector<std::int32_t>{tokenizer->eos_id()});
  EXPECT_GT(tokenizer->encode("<｜end▁of▁sentence｜>").size(), 1U);
}

// Of special tokens that begin alike the longest that fits is taken, whatever their order.
TEST(BpeTokenizer, LongestSpecialTokenFirst) {
  BpeModel model = trained_on_corpus()->model();
  model.special_tokens = {{"short", "<a>", 400}, {"long", "<a>b", 401}, {"eos", "<e>", 402}};
  const BpeTokenizer tokenizer(model);
  EXPECT_EQ(tokenizer.encode("<a>b<a>", {.allow_special = true}), (std::vector<std::int32_t>{401, 400}));
}

// Several threads may encode with one tokenizer.
TEST(BpeTokenizer, ManyThreads) {
  const auto tokenizer = trained_on_corpus();
  const auto expected = tokenizer->encode(kCorpus);
  std::array<int, 4> wrong{};
  {
    std::vector<std::jthread> threads;
    for (int& count : wrong)
      threads.emplace_back([&] {
        for (int i = 0; i < 50; ++i) count += tokenizer->encode(kCorpus) == expected ? 0 : 1;
      });
  }
  EXPECT_EQ(wrong, (std::array<int, 4>{}));
}

class BpeFile : public testing::Test {
 protected:
  BpeFile() : path_((fs::temp_directory_path() / ("athanor_bpe_" + std::to_string(getpid()) + ".json")).string()) {}
  ~BpeFile() override { fs::remove(path_); }
  std::string content() const {
    std::ifstream in(path_);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::string load_error() const {
    try {
      BpeTokenizer::load(path_);
    } catch (const DataError& error) {
      return error.what();
    }
    return "nothing was thrown";
  }
  std::string path_;
};

// A tokenizer read back is the same in every respect.
TEST_F(BpeFile, SaveAndLoad) {
  const auto tokenizer = trained_on_corpus();
  tokenizer->save(path_);
  const auto loaded = load_tokenizer(path_);
  EXPECT_EQ(loaded->content_hash(), tokenizer->content_hash());
  EXPECT_EQ(loaded->encode(kCorpus), tokenizer->encode(kCorpus));
  EXPECT_EQ(loaded->special_tokens(), tokenizer->special_tokens());
  EXPECT_FALSE(fs::exists(path_ + ".tmp"));
}

// A file that was cut or changed is refused, named, with what is wrong.
TEST_F(BpeFile, DamagedFilesAreRefused) {
  trained_on_corpus()->save(path_);
  const std::string whole = content();

  std::ofstream(path_) << whole.substr(0, whole.size() / 2);
  EXPECT_NE(load_error().find(path_), std::string::npos);

  std::string changed = whole;
  changed.replace(changed.find("Ġt"), 2, "Ġu");
  std::ofstream(path_) << changed;
  EXPECT_NE(load_error().find(path_), std::string::npos);

  changed = whole;
  changed.replace(changed.find("\"version\": 1"), 12, "\"version\": 9");
  std::ofstream(path_) << changed;
  EXPECT_NE(load_error().find("found \"athanor-tokenizer\" 9"), std::string::npos) << load_error();
}

// Impossible tokenizers are refused: a byte without a token, a merge that does not fit, an id taken twice.
TEST(BpeTokenizer, ImpossibleModels) {
  const BpeModel good = trained_on_corpus()->model();
  BpeModel model = good;
  model.tokens[65].clear();
  EXPECT_THROW(BpeTokenizer{model}, DataError);
  model = good;
  model.merges[0].result += 1;
  EXPECT_THROW(BpeTokenizer{model}, DataError);
  model = good;
  model.merges.push_back(model.merges[0]);
  EXPECT_THROW(BpeTokenizer{model}, DataError);
  model = good;
  model.special_tokens[0].id = 7;
  EXPECT_THROW(BpeTokenizer{model}, DataError);
}

}  // namespace
}  // namespace athanor
