#include "src/text/utf8.hpp"

#include <gtest/gtest.h>

#include "src/text/byte_tokenizer.hpp"
#include "src/text/stream_decoder.hpp"

namespace athanor {
namespace {

// Every kind of ill-formed byte is found at its first offset, in the middle of ASCII longer than a machine word too.
TEST(Utf8, FindsTheFirstBadByte) {
  EXPECT_EQ(find_invalid_utf8(""), std::nullopt);
  EXPECT_EQ(find_invalid_utf8("plain text, then 你好, é, 😀 and \xF4\x8F\xBF\xBF"), std::nullopt);
  EXPECT_EQ(find_invalid_utf8("0123456789ab\x80"), 12U);     // continuation without a lead
  EXPECT_EQ(find_invalid_utf8("ab\xC0\xAF"), 2U);            // overlong, two bytes
  EXPECT_EQ(find_invalid_utf8("ab\xE0\x80\xAF"), 2U);        // overlong, three bytes
  EXPECT_EQ(find_invalid_utf8("\xF0\x80\x80\xAF"), 0U);      // overlong, four bytes
  EXPECT_EQ(find_invalid_utf8("é\xED\xA0\x80"), 2U);         // surrogate
  EXPECT_EQ(find_invalid_utf8("\xF4\x90\x80\x80"), 0U);      // above U+10FFFF
  EXPECT_EQ(find_invalid_utf8("\xF5"), 0U);                  // no such lead
  EXPECT_EQ(find_invalid_utf8("ends early \xE4\xBD"), 11U);  // cut short
}

// Each maximal ill-formed part becomes one U+FFFD: the Unicode Standard's own example (section 3.9, table 3-8).
TEST(Utf8, ReplacesMaximalSubparts) {
  EXPECT_EQ(replace_invalid_utf8("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64"),
            "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd");
}

// Characters are counted and found, whatever their length.
TEST(Utf8, CountsCharacters) {
  const std::string text = "aé你😀z";
  EXPECT_EQ(count_characters(text), 5U);
  EXPECT_EQ(character_offset(text, 0), 0U);
  EXPECT_EQ(character_offset(text, 2), 3U);
  EXPECT_EQ(character_offset(text, 4), 10U);
  EXPECT_EQ(character_offset(text, 5), text.size());
}

// A character that comes byte by byte is shown once it is whole; rubbish is shown as U+FFFD as soon as it is known to
// be.
TEST(StreamDecoder, KeepsUnfinishedCharactersBack) {
  const ByteTokenizer tokenizer;
  StreamDecoder decoder(tokenizer);

  EXPECT_EQ(decoder.push('a'), "a");
  EXPECT_EQ(decoder.push(0xE4), "");
  EXPECT_EQ(decoder.push(0xBD), "");
  EXPECT_EQ(decoder.push(0xA0), "你");
  EXPECT_EQ(decoder.push(tokenizer.eos_id()), "");
  EXPECT_EQ(decoder.push(0xF0), "");
  EXPECT_EQ(decoder.push('b'), "\uFFFDb");
  EXPECT_EQ(decoder.push(0xF0), "");
  EXPECT_EQ(decoder.push(0x9F), "");
  EXPECT_EQ(decoder.finish(), "\uFFFD");
  EXPECT_EQ(decoder.finish(), "");
}

}  // namespace
}  // namespace athanor
