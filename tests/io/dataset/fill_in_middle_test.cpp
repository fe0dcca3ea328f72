#include "io/dataset/fill_in_middle.hpp"

#include <gtest/gtest.h>

#include "src/text/byte_tokenizer.hpp"
#include "src/text/utf8.hpp"

namespace athanor {
namespace {

// Prefix, hole, suffix, end, middle, eos: in this order, with nothing lost.
TEST(FillInMiddle, LayoutIsPrefixSuffixMiddle) {
  const ByteTokenizer tokenizer;
  std::vector<std::int32_t> ids;
  append_document(tokenizer, "abcdef", FillInMiddleCuts{2, 5}, ids);
  EXPECT_EQ(ids, (std::vector<std::int32_t>{259, 'a', 'b', 260, 'f', 261, 'c', 'd', 'e', 257}));
  ids.clear();
  append_document(tokenizer, "abc", std::nullopt, ids);
  EXPECT_EQ(ids, (std::vector<std::int32_t>{'a', 'b', 'c', 257}));
}

// About `rate` of the documents are cut (10,000 draws: a deviation of 0.02 is over 6 standard deviations), between
// characters, and every place is reached.
TEST(FillInMiddle, RateAndPlaces) {
  const std::string text = "aé你😀z";
  int cut = 0;
  std::vector<int> places(text.size() + 1, 0);
  for (std::int64_t offset = 0; offset < 10000; ++offset) {
    const auto cuts = choose_cuts({.rate = 0.1, .seed = 7}, 0, offset, text);
    if (!cuts) continue;
    ++cut;
    EXPECT_LE(cuts->first, cuts->second);
    EXPECT_EQ(find_invalid_utf8(std::string_view(text).substr(cuts->first)), std::nullopt);
    EXPECT_EQ(find_invalid_utf8(std::string_view(text).substr(cuts->second)), std::nullopt);
    ++places[cuts->first];
    ++places[cuts->second];
  }
  EXPECT_NEAR(cut, 1000, 200);
  for (const std::size_t boundary : {0, 1, 3, 6, 10, 11}) EXPECT_GT(places[boundary], 200) << boundary;
}

// The choice depends on seed, source and offset, and on nothing else.
TEST(FillInMiddle, IsAFunctionOfSeedSourceAndOffset) {
  const auto chosen = [](std::uint64_t seed, std::uint64_t source) {
    std::vector<bool> cut;
    for (std::int64_t offset = 0; offset < 200; ++offset)
      cut.push_back(choose_cuts({.rate = 0.5, .seed = seed}, source, offset, "some text").has_value());
    return cut;
  };
  EXPECT_EQ(chosen(1, 0), chosen(1, 0));
  EXPECT_NE(chosen(1, 0), chosen(2, 0));
  EXPECT_NE(chosen(1, 0), chosen(1, 1));
  EXPECT_FALSE(choose_cuts({.rate = 0.0}, 0, 0, "x"));
  EXPECT_TRUE(choose_cuts({.rate = 1.0}, 0, 0, ""));
}

}  // namespace
}  // namespace athanor
