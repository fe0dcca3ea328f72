// countdown: TinyZero's three scores, and none of its loopholes.
#include "src/reward/countdown.hpp"

#include <gtest/gtest.h>

#include "tests/src/reward/samples.hpp"

namespace athanor {
namespace {

double judged(const std::string& answer, const std::string& reference = "98 from 44 19 35") {
  return score("countdown", completion("<think>\nx\n</think>\n<answer>" + answer + "</answer>\n", reference)).value();
}

// 1 for a right answer, 0.1 for one that is wrong or no expression, 0 for none.
TEST(Countdown, ScoresAsPublished) {
  EXPECT_EQ(judged("44+19+35"), 1.0);
  EXPECT_EQ(judged(" (44 + 19) + 35 "), 1.0);
  EXPECT_EQ(judged("44+19-35"), 0.1);
  EXPECT_EQ(judged("ninety-eight"), 0.1);
  EXPECT_EQ(judged(""), 0.1);
  EXPECT_EQ(score("countdown", completion("44+19+35", "98 from 44 19 35")), 0.0);
  EXPECT_EQ(score("countdown", completion("<answer>44+19+35</answer>", "98")), std::nullopt);
}

// Every number exactly once.
TEST(Countdown, WantsEachNumberOnce) {
  EXPECT_EQ(judged("98"), 0.1);
  EXPECT_EQ(judged("44+54"), 0.1);
  EXPECT_EQ(judged("44+19+35+44-44"), 0.1);
  EXPECT_EQ(judged("3*3+3", "12 from 3 3 3"), 1.0);
  EXPECT_EQ(judged("3*3+3", "12 from 3 3"), 0.1);
}

// What Python would take and arithmetic does not: powers, whole division, decimals read as two numbers, and claims.
TEST(Countdown, HasNoLoopholes) {
  EXPECT_EQ(judged("2**3", "8 from 2 3"), 0.1);
  EXPECT_EQ(judged("7//2", "3 from 7 2"), 0.1);
  EXPECT_EQ(judged("1.5*2", "3 from 1 5 2"), 0.1);
  EXPECT_EQ(judged("44+19+35=98"), 0.1);
  EXPECT_EQ(judged("44 19 35"), 0.1);
  EXPECT_EQ(judged("(44+19)(35)"), 0.1);
  EXPECT_EQ(judged("44+19+35)"), 0.1);
  EXPECT_EQ(judged("44+-19+35"), 0.1);
}

// Fractions on the way are exact; a division by zero is only wrong.
TEST(Countdown, CalculatesExactly) {
  EXPECT_EQ(judged("8/(3-8/3)", "24 from 8 3 3 8"), 1.0);
  EXPECT_EQ(judged("1/3*3", "1 from 1 3 3"), 1.0);
  EXPECT_EQ(judged("1/(2-2)", "1 from 1 2 2"), 0.1);
  EXPECT_EQ(judged("-2+5", "3 from 2 5"), 1.0);
  EXPECT_EQ(judged("7/2", "3 from 7 2"), 0.1);
}

// Hostile answers cost nothing.
TEST(Countdown, SurvivesHostileAnswers) {
  EXPECT_EQ(judged(std::string(100000, '(')), 0.1);
  EXPECT_EQ(judged(std::string(500, '(') + "1" + std::string(500, ')')), 0.1);
  EXPECT_EQ(judged("99999999999999999999"), 0.1);
  EXPECT_EQ(judged("9223372036854775807*9223372036854775807"), 0.1);
  EXPECT_EQ(judged("9223372036854775807+9223372036854775807"), 0.1);
  EXPECT_EQ(judged(std::string(1000, '-') + "1"), 0.1);
}

// References survive being written and read.
TEST(Countdown, ReadsItsReferences) {
  const auto problem = parse_countdown("-3 from 1 4");
  ASSERT_TRUE(problem);
  EXPECT_EQ(problem->target, -3);
  EXPECT_EQ(problem->numbers, (std::vector<std::int64_t>{1, 4}));
  EXPECT_EQ(countdown_text(*problem), "-3 from 1 4");
  for (const char* text : {"", "3", "3 from x", "from 1", "3 from 1,2", "3x from 1"})
    EXPECT_FALSE(parse_countdown(text)) << text;
}

}  // namespace
}  // namespace athanor
