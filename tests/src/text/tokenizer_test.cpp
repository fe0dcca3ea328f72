#include "src/text/tokenizer.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"
#include "src/text/byte_tokenizer.hpp"

namespace athanor {
namespace {

template <class E, class F>
std::string message_of(F&& call) {
  try {
    call();
  } catch (const E& error) {
    return error.what();
  }
  return "nothing was thrown";
}

// Ids of the byte tokenizer are the bytes, then the special tokens in their documented places.
TEST(ByteTokenizer, IdsAreBytes) {
  const ByteTokenizer tokenizer;
  EXPECT_EQ(tokenizer.encode("aé"), (std::vector<std::int32_t>{0x61, 0xC3, 0xA9}));
  EXPECT_EQ(tokenizer.vocab_size(), 271);
  EXPECT_EQ(tokenizer.bos_id(), 256);
  EXPECT_EQ(tokenizer.eos_id(), 257);
  EXPECT_EQ(tokenizer.special("fim_begin"), 259);
  EXPECT_EQ(tokenizer.special("assistant"), 263);
  EXPECT_EQ(tokenizer.special("end_think"), 265);
  EXPECT_EQ(tokenizer.special("eot"), 270);
}

// Any well-formed text comes back byte for byte, NUL and special tokens' texts included.
TEST(ByteTokenizer, RoundTrip) {
  const ByteTokenizer tokenizer;
  const std::string text = std::string("a\0b\r\n", 5) + "你好 👩‍👩‍👧 <｜User｜>";
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
  EXPECT_EQ(tokenizer.encode(text).size(), text.size());
}

// Special tokens come out of text only on request; the longest fitting one is taken; decoding shows or hides them.
TEST(Tokenizer, SpecialTokensOnRequestOnly) {
  const ByteTokenizer tokenizer;
  const std::string text = "x<｜User｜>y<｜";
  const EncodeOptions parse{.allow_special = true};

  const auto as_text = tokenizer.encode(text), parsed = tokenizer.encode(text, parse);

  EXPECT_EQ(as_text.size(), text.size());
  EXPECT_EQ(parsed, (std::vector<std::int32_t>{'x', 262, 'y', '<', 0xEF, 0xBD, 0x9C}));
  EXPECT_EQ(tokenizer.decode(parsed), text);
  EXPECT_EQ(tokenizer.decode(parsed, false), "xy<｜");
}

// The text of a completion shows the tags of a reasoning, which are said, and hides the ends of turns and documents.
TEST(Tokenizer, CompletionsShowWhatIsSaid) {
  const ByteTokenizer tokenizer;
  const std::vector<std::int32_t> completion{tokenizer.special("think"),     'a',
                                             tokenizer.special("end_think"), 'b',
                                             tokenizer.special("im_end"),    tokenizer.eos_id()};
  EXPECT_EQ(tokenizer.decode(completion, false), "<think>a</think>b");
  EXPECT_EQ(tokenizer.decode(completion), "<think>a</think>b<|im_end|><｜end▁of▁sentence｜>");
}

// What is no UTF-8 is refused with its offset, or mended on request.
TEST(Tokenizer, RefusesWhatIsNotUtf8) {
  const ByteTokenizer tokenizer;
  EXPECT_EQ(message_of<DataError>([&] { tokenizer.encode("caf\xE9 au lait"); }),
            "text is not UTF-8: byte 0xE9 at offset 3 of 12");
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("caf\xE9 au lait", {.replace_invalid = true})), "caf\uFFFD au lait");
}

// An unknown special token is an error that lists the known ones; an id of a padded vocabulary is shown, not fatal.
TEST(Tokenizer, UnknownNamesAndIds) {
  const ByteTokenizer tokenizer;
  EXPECT_EQ(message_of<ConfigError>([&] { tokenizer.special("sep"); }),
            "the byte tokenizer has no special token named sep; it has: bos, eos, pad, fim_begin, fim_hole, "
            "fim_end, user, assistant, think, end_think, im_start, im_end, start_header, end_header, eot");
  EXPECT_FALSE(tokenizer.has_special("sep"));
  EXPECT_EQ(tokenizer.decode(std::vector<std::int32_t>{'a', 400, -1, 'b'}), "a\uFFFD\uFFFDb");
  EXPECT_THROW(tokenizer.token_bytes(271), Error);
}

// Bits per byte count the bytes of text tokens and none for special ones.
TEST(Tokenizer, TextBytes) {
  const ByteTokenizer tokenizer;
  EXPECT_EQ(tokenizer.text_bytes('a'), 1);
  EXPECT_EQ(tokenizer.text_bytes(tokenizer.eos_id()), 0);
  EXPECT_EQ(tokenizer.token_bytes(tokenizer.eos_id()), "<｜end▁of▁sentence｜>");
}

// The hash is the tokenizer's name in token files: it must never change for the byte tokenizer.
TEST(Tokenizer, ContentHashIsStable) {
  EXPECT_EQ(ByteTokenizer().content_hash(), ByteTokenizer().content_hash());
  EXPECT_EQ(load_tokenizer("byte")->content_hash(), ByteTokenizer().content_hash());
  EXPECT_EQ(ByteTokenizer().content_hash(), 13418174079648781414U);
}

// A file that is not there is the user's to mend.
TEST(Tokenizer, MissingFile) {
  EXPECT_NE(message_of<ConfigError>([] { load_tokenizer("/no/such.json"); }).find("/no/such.json: no such file"),
            std::string::npos);
}

}  // namespace
}  // namespace athanor
