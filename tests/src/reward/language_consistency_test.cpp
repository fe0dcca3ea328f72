// language_consistency: words of the target language over words, by hand.
#include "src/reward/language_consistency.hpp"

#include <gtest/gtest.h>

#include "src/reward/script.hpp"
#include "tests/src/reward/samples.hpp"

namespace athanor {
namespace {

std::optional<double> share(const std::string& text, const std::string& language) {
  return LanguageConsistencyReward().score(completion(text, "", language));
}

// A run of Chinese characters is a word, as is a run of letters.
TEST(LanguageConsistency, CountsWords) {
  EXPECT_EQ(share("So the sum is twelve", "en"), 1.0);
  EXPECT_EQ(share("所以答案是十二", "zh"), 1.0);
  EXPECT_EQ(share("So 所以 the sum 答案是 is", "en"), 4.0 / 6);
  EXPECT_EQ(share("So 所以 the sum 答案是 is", "zh"), 2.0 / 6);
  EXPECT_EQ(share("先算加法，然后 multiply，得到答案", "zh"), 3.0 / 4);
  EXPECT_EQ(share("don't panic", "en"), 1.0);
  EXPECT_EQ(share("Это не English", "ru"), 2.0 / 3);
}

// Digits, signs, formulas and single letters belong to no language.
TEST(LanguageConsistency, LeavesSymbolsOut) {
  EXPECT_EQ(share("设x=3，则 \\frac{x}{2} = 1.5 。", "zh"), 1.0);
  EXPECT_EQ(share("A 比 B 高", "zh"), 1.0);
  EXPECT_EQ(share("I think 12 + 7 = 19!", "en"), 1.0);
  EXPECT_EQ(share("12+7=19", "en"), std::nullopt);
  EXPECT_EQ(share("", "zh"), std::nullopt);
}

// Only the thinking is looked at, and its tags are no English words.
TEST(LanguageConsistency, LooksAtTheThinking) {
  EXPECT_EQ(share("<think>\n先算\n</think>\n<answer>\nParis\n</answer>", "zh"), 1.0);
  EXPECT_EQ(share("<think> <think> 先算 </think>", "zh"), 1.0);
  EXPECT_EQ(share("<answer>\n十二\n</answer>", "zh"), 1.0);
  EXPECT_EQ(share("(先算)>Paris", "zh"), 1.0);
}

// What cannot be told is not scored.
TEST(LanguageConsistency, DoesNotGuess) {
  EXPECT_EQ(share("words", ""), std::nullopt);
  EXPECT_EQ(share("words", "xx"), std::nullopt);
  EXPECT_EQ(share("words", "en-GB"), 1.0);
}

// Japanese mixes two writings in one word; Chinese text has no kana.
TEST(LanguageConsistency, KnowsJapanese) {
  EXPECT_EQ(share("答えは十二です", "ja"), 1.0);
  EXPECT_LT(*share("答えは十二です", "zh"), 1.0);
  EXPECT_EQ(share("こたえ answer", "ja"), 0.5);
}

// Bytes that are no text do no harm.
TEST(LanguageConsistency, SurvivesAnyBytes) {
  std::string bytes;
  for (int i = 0; i < 4096; ++i) bytes += static_cast<char>(i * 37 % 256);
  const auto value = share(bytes, "en");
  EXPECT_TRUE(!value || (*value >= 0.0 && *value <= 1.0));
}

// The table of scripts is in order and finds its ends.
TEST(Script, FindsBlocks) {
  EXPECT_EQ(script_of(U'z'), Script::latin);
  EXPECT_EQ(script_of(U'{'), Script::neutral);
  EXPECT_EQ(script_of(U'\u00e9'), Script::latin);
  EXPECT_EQ(script_of(U'\u00d7'), Script::neutral);
  EXPECT_EQ(script_of(U'\u4e00'), Script::han);
  EXPECT_EQ(script_of(U'\u3002'), Script::neutral);
  EXPECT_EQ(script_of(U'\U00020000'), Script::han);
  EXPECT_EQ(script_of(U'\U0001F600'), Script::neutral);
  EXPECT_EQ(script_of(U'\uac00'), Script::hangul);
}

}  // namespace
}  // namespace athanor
