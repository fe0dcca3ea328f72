// Texts that share a run of words with a benchmark are found, others are not.
#include "src/filter/ngram_index.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

#include "src/base/error.hpp"

namespace athanor {
namespace {

const std::string kQuestion = "Janet's ducks lay 16 eggs per day. She eats three for breakfast every morning.";

// Case, blanks and punctuation do not hide a copy; a number keeps its decimal point and loses its thousands' comma.
TEST(ComparedWords, AreWhatIsSaid) {
  EXPECT_EQ(compared_words("The  COST, is 1,000.50 Euro!"),
            (std::vector<std::u32string>{U"the", U"cost", U"is", U"1000.50", U"euro"}));
  EXPECT_EQ(compared_words("12+7-3=16."), (std::vector<std::u32string>{U"12", U"+", U"7", U"-", U"3", U"=", U"16"}));
  EXPECT_EQ(compared_words("计算12。"), (std::vector<std::u32string>{U"计", U"算", U"12"}));
  EXPECT_TRUE(compared_words(" ... ").empty());
}

// Ten words in a row are a match wherever they stand; nine are none.
TEST(NgramIndex, FindsTenWordsInARow) {
  NgramIndex index(10);
  index.add_question(kQuestion);

  EXPECT_TRUE(index.has_question(kQuestion));
  EXPECT_TRUE(index.has_part_of("Well: ducks lay 16 eggs per day, she eats three for breakfast. So 13 are left."));
  EXPECT_FALSE(index.has_part_of("Well: ducks lay 16 eggs per day, she eats three at noon. So 13 are left."));
  EXPECT_FALSE(index.has_question("Other geese lay 15 eggs a week. He sells three of them every morning to Ada."));
  EXPECT_EQ(index.num_ngrams(), compared_words(kQuestion).size() - 9);
}

// Chinese is compared by characters.
TEST(NgramIndex, TakesChineseByCharacters) {
  NgramIndex index(10);
  index.add_question("小明有十二个苹果，他给了小红三个，还剩几个？");
  EXPECT_TRUE(index.has_part_of("已知他给了小红三个还剩几个，求答案。"));
  EXPECT_FALSE(index.has_part_of("已知他给了小红三个还剩九只，求答案。"));
}

// A question too short for an n-gram is compared whole, with its signs, and with questions alone.
TEST(NgramIndex, ComparesShortQuestionsWhole) {
  NgramIndex index(10);
  index.add_question("Compute 12+7-3.");
  EXPECT_TRUE(index.has_question("compute 12 + 7 - 3"));
  EXPECT_FALSE(index.has_question("Compute 12-7+3."));
  EXPECT_FALSE(index.has_question("Compute 12+7-3 and 4."));
  EXPECT_FALSE(index.has_part_of("Compute 12+7-3."));
}

// Problems of one wording: only the same one counts, however long the wording is.
TEST(NgramIndex, ComparesGeneratedQuestionsWhole) {
  NgramIndex index(3);
  index.add_whole_question("Ada is taller than Boris. Boris is taller than Chen. Who is the tallest?");
  EXPECT_TRUE(index.has_question("Ada is taller than Boris. Boris is taller than Chen. Who is the tallest?"));
  EXPECT_FALSE(index.has_question("Chen is taller than Boris. Boris is taller than Ada. Who is the tallest?"));
  EXPECT_EQ(index.num_ngrams(), 0u);
}

// Solutions count by their n-grams; a short one ("16") would be in everything.
TEST(NgramIndex, LeavesShortSolutionsAlone) {
  NgramIndex index(4);
  index.add_text("16");
  index.add_text("She sells 16 - 3 - 4 = 9 eggs.");
  EXPECT_FALSE(index.has_question("16"));
  EXPECT_TRUE(index.has_part_of("that is 16 - 3 - 4"));
}

// Memory has a bound, and beyond it the mistake is told; the table finds all it holds after it grew.
TEST(NgramIndex, IsBounded) {
  NgramIndex index(1, 5000);
  for (int i = 0; i < 5000; ++i) index.add_text(fmt::format("w{}", i));
  for (int i = 0; i < 5000; ++i) EXPECT_TRUE(index.has_part_of(fmt::format("w{}", i))) << i;
  EXPECT_FALSE(index.has_part_of("w5000"));
  EXPECT_NO_THROW(index.add_text("w17"));
  EXPECT_THROW(index.add_text("w5000"), DataError);
  EXPECT_THROW(NgramIndex(0), ConfigError);
}

}  // namespace
}  // namespace athanor
