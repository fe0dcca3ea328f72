#include "src/text/pre_tokenizer.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"
#include "src/base/rng.hpp"

namespace athanor {
namespace {

std::vector<std::string> pieces_of(const PreTokenizer& pre_tokenizer, std::string_view text) {
  std::vector<std::string_view> pieces;
  PreTokenizer::Scratch scratch;
  pre_tokenizer.split(text, pieces, scratch);
  return {pieces.begin(), pieces.end()};
}

using Pieces = std::vector<std::string>;

// Words keep the space before them, digits come in threes, Chinese runs stand alone, punctuation keeps line breaks.
TEST(PreTokenizer, DefaultPatterns) {
  const PreTokenizer pre_tokenizer(default_pre_token_patterns());
  EXPECT_EQ(pieces_of(pre_tokenizer, "Hello world 12345 你好，世界!\n\n  x"),
            (Pieces{"Hello", " world", " ", "123", "45", " ", "你好", "，", "世界", "!\n\n", " ", " x"}));
  EXPECT_EQ(pieces_of(pre_tokenizer, "it's 3.14, naïve"), (Pieces{"it", "'s", " ", "3", ".", "14", ",", " naïve"}));
  EXPECT_EQ(pieces_of(pre_tokenizer, "ab中文cd かなカナ"), (Pieces{"ab", "中文", "cd", " ", "かなカナ"}));
}

// Unicode decides what a letter, a digit or a space is, not ASCII: Cyrillic, Arabic digits, a combining mark, U+3000.
TEST(PreTokenizer, IsUnicodeCorrect) {
  const PreTokenizer pre_tokenizer(default_pre_token_patterns());
  EXPECT_EQ(pieces_of(pre_tokenizer, "Привет мир"), (Pieces{"Привет", " мир"}));
  EXPECT_EQ(pieces_of(pre_tokenizer, "٠١٢٣"), (Pieces{"٠١٢", "٣"}));
  EXPECT_EQ(pieces_of(pre_tokenizer, "e\u0301te\u0301"), (Pieces{"e\u0301te\u0301"}));
  EXPECT_EQ(pieces_of(pre_tokenizer, "a\u3000\nb"), (Pieces{"a", "\u3000\n", "b"}));
  EXPECT_EQ(pieces_of(pre_tokenizer, "a\u3000\u3000b"), (Pieces{"a", "\u3000", "\u3000b"}));
}

// Nothing is lost and no piece is empty, whatever the characters.
TEST(PreTokenizer, PiecesJoinedAreTheText) {
  const PreTokenizer pre_tokenizer(default_pre_token_patterns());
  const std::vector<std::string> characters{
      "a", "B", "7", " ", "\n", "\r", "\t", ".", "'", "中", "é", "😀", "\u200D", "\u0301", std::string(1, '\0')};
  const Philox random(5, RandomPurpose::test);
  for (std::uint64_t round = 0; round < 300; ++round) {
    std::string text;
    for (std::uint64_t i = 0; i < 40; ++i) text += characters[random.word64(round * 40 + i) % characters.size()];
    std::string joined;
    for (const std::string& piece : pieces_of(pre_tokenizer, text)) {
      EXPECT_FALSE(piece.empty());
      joined += piece;
    }
    EXPECT_EQ(joined, text);
  }
}

// Runs far longer than words neither overflow the matcher's stack nor take quadratic time.
TEST(PreTokenizer, LongRuns) {
  const PreTokenizer pre_tokenizer(default_pre_token_patterns());
  EXPECT_EQ(pieces_of(pre_tokenizer, std::string(1 << 20, 'a')).size(), 1U);
  EXPECT_EQ(pieces_of(pre_tokenizer, std::string(1 << 20, ' ')).size(), 1U);
  EXPECT_EQ(pieces_of(pre_tokenizer, std::string(1 << 20, '-') + "\n").size(), 1U);
}

// A pattern that does not compile is named, with the place.
TEST(PreTokenizer, BadPattern) {
  try {
    PreTokenizer({R"(\p{L}+)", "(ab"});
    FAIL() << "nothing was thrown";
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(), "pre-token pattern (ab: missing closing parenthesis at offset 3");
  }
}

}  // namespace
}  // namespace athanor
