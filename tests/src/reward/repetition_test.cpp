// repetition_penalty: the published values; Chinese by characters.
#include "src/reward/repetition.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"
#include "tests/src/reward/samples.hpp"

namespace athanor {
namespace {

double penalty(int n, double most, const std::string& text, const std::string& language = "en") {
  return RepetitionPenalty(n, most).score(completion(text, "", language)).value();
}

// Every value of open-r1's tests.
TEST(Repetition, MatchesPublishedValues) {
  const std::string kTwice = "this is a this is a test";
  EXPECT_DOUBLE_EQ(penalty(2, -1, "this is a test sentence"), 0.0);
  EXPECT_DOUBLE_EQ(penalty(2, -1, "this this this this this"), -0.75);
  EXPECT_DOUBLE_EQ(penalty(2, -1, kTwice), -1.0 / 3);
  EXPECT_DOUBLE_EQ(penalty(3, -2, kTwice), -0.4);
  EXPECT_DOUBLE_EQ(penalty(3, -0.5, "this is a test"), 0.0);
  EXPECT_DOUBLE_EQ(penalty(3, -0.5, "test test test test"), -0.25);
  EXPECT_DOUBLE_EQ(penalty(3, -1, "word word word word"), -0.5);
  EXPECT_DOUBLE_EQ(penalty(3, -1, "one two one two"), 0.0);
  EXPECT_DOUBLE_EQ(penalty(3, -0.5, "A B C A B"), 0.0);
  EXPECT_DOUBLE_EQ(penalty(3, -1, "A B C A B C"), -0.25);
  EXPECT_DOUBLE_EQ(penalty(3, -1, "A B C A B C E F G A B C A B C"), -5.0 / 13);
  EXPECT_DOUBLE_EQ(penalty(3, -1, "a b c d e f g h i j k l"), 0.0);
  EXPECT_DOUBLE_EQ(penalty(2, -1, "that that that that that"), -0.75);
}

// Too short to repeat anything.
TEST(Repetition, LeavesShortTextsAlone) {
  for (const char* text : {"", "one", "one two", "one two three"}) EXPECT_EQ(penalty(3, -1, text), 0.0) << text;
}

// Case and the kind of white space do not matter.
TEST(Repetition, FoldsCaseAndBlanks) {
  EXPECT_EQ(penalty(2, -1, "The the THE tHe"), penalty(2, -1, "the the the the"));
  EXPECT_EQ(penalty(2, -1, "a\u3000b\u00a0a\nb"), penalty(2, -1, "a b a b"));
}

// Without blanks between words, characters are the words: two different bigrams among nine.
TEST(Repetition, TakesChineseByCharacters) {
  EXPECT_DOUBLE_EQ(penalty(2, -1, "这个这个这个这个这个", "zh"), -7.0 / 9);
  EXPECT_DOUBLE_EQ(penalty(2, -1, "这个 这个 这个 这个 这个", "zh"), -7.0 / 9);
  EXPECT_DOUBLE_EQ(penalty(2, -1, "天地玄黄宇宙洪荒", "zh-CN"), 0.0);
  // 设 x1 = 12 。 设 x1: seven words.
  EXPECT_DOUBLE_EQ(penalty(2, -1, "设x1=12。设x1", "zh"), -1.0 / 6);
}

// A reward for repeating is a mistake in the configuration.
TEST(Repetition, RefusesAPositivePenalty) {
  for (const char* spec : {"repetition_penalty:max_penalty=1.0", "repetition_penalty:max_penalty=1.5"}) try {
      make_reward(spec);
      FAIL() << spec;
    } catch (const ConfigError& error) {
      EXPECT_NE(std::string(error.what()).find("should not be positive"), std::string::npos) << error.what();
    }
}

// The share itself, in both units: blanks divide words, signs divide themselves.
TEST(Repetition, ShareIsWhatThePenaltyWeighs) {
  EXPECT_DOUBLE_EQ(repeated_ngram_share("this this this this this", 2, RepeatedUnit::words), 0.75);
  EXPECT_EQ(repeated_ngram_share("12+7=19;12+7=19", 3, RepeatedUnit::words), 0.0);
  // 12 + 7 = 19 ; 12 + 7 = 19: nine 3-grams, six of them different.
  EXPECT_DOUBLE_EQ(repeated_ngram_share("12+7=19;12+7=19", 3, RepeatedUnit::signs), 1.0 / 3.0);
}

}  // namespace
}  // namespace athanor
