// Preferences that a rule makes: the rule on answers by hand, and the laws of the maker.
#include <gtest/gtest.h>

#include <cmath>

#include "src/base/error.hpp"
#include "src/task/preference_maker.hpp"

namespace athanor {
namespace {

Problem sixteen() {
  Problem problem;
  problem.answer = "16";
  problem.language = "en";
  return problem;
}

// Promise: points for the right answer standing by itself, for a polite phrase and for being short.
TEST(PreferenceRule, PointsByHand) {
  const HelpfulRule rule{.right = 2.0, .polite = 1.0, .brief = 0.5, .brief_length = 40};
  EXPECT_EQ(rule.points(sixteen(), "The answer is 16."), 2.5);
  EXPECT_EQ(rule.points(sixteen(), "The answer is 16. Happy to help."), 3.5);
  EXPECT_EQ(rule.points(sixteen(), "The answer is 160."), 0.5);
  EXPECT_EQ(rule.points(sixteen(), "The answer is -16."), 0.5);
  EXPECT_EQ(rule.points(sixteen(), "答案是16。很高兴能帮到您。"), 3.5);
  EXPECT_EQ(rule.points(sixteen(), std::string(60, 'x')), 0.0);
  EXPECT_TRUE(is_free_of("a Da rn thing", "darn"));
  EXPECT_FALSE(is_free_of("a DaRn thing", "darn"));
}

// Promise: made pairs are mostly those the rule prefers, come in either order, are equally long over all within 2 %,
// and are the same each time; the sides share no problem.
TEST(PreferenceMaker, Helpful) {
  const PreferenceMaker maker("helpful(arithmetic:level=2, digits:language=both, prompts=400, seed=3)");
  const auto list = maker.make(Split::train), again = maker.make(Split::train), held_out = maker.make(Split::held_out);
  ASSERT_EQ(list.size(), 400U);
  EXPECT_EQ(held_out.size(), 50U);
  double first = 0.0, agrees = 0.0;
  for (std::size_t i = 0; i < list.size(); ++i) {
    ASSERT_EQ(list[i].answers.size(), 2U);
    EXPECT_EQ(list[i].answers[0].content, again[i].answers[0].content);
    EXPECT_EQ(list[i].scores, again[i].scores);
    const bool first_is_better = list[i].scores[0] > list[i].scores[1];
    first += first_is_better ? 1.0 : 0.0;
    const HelpfulRule& rule = maker.options().rule;
    const double gap = rule.points(list[i].problem, list[i].answers[0].content) -
                       rule.points(list[i].problem, list[i].answers[1].content);
    agrees += (gap > 0.0) == first_is_better && gap != 0.0 ? 1.0 : 0.0;
    for (const Preference& other : held_out) EXPECT_NE(list[i].problem.id, other.problem.id);
  }
  EXPECT_NEAR(first / 400.0, 0.5, 0.1);
  EXPECT_GT(agrees / 400.0, 0.95);
  const AnswerLengths lengths = answer_lengths(list, false);
  EXPECT_NEAR(lengths.good / lengths.bad, 1.0, 0.02);
  EXPECT_GT(lengths.good, 0.0);
}

// Promise: K answers are ranked by points, with ties, and at least one pair of each prompt is no tie.
TEST(PreferenceMaker, RanksSeveralAnswers) {
  const PreferenceMaker maker("helpful(arithmetic:language=symbols, prompts=100, answers=4, noise=0)");
  std::int64_t ties = 0;
  for (const Preference& preference : maker.make(Split::train)) {
    ASSERT_EQ(preference.scores.size(), 4U);
    bool differs = false;
    for (std::size_t a = 0; a < 4; ++a)
      for (std::size_t b = 0; b < a; ++b) {
        const double gap = maker.options().rule.points(preference.problem, preference.answers[a].content) -
                           maker.options().rule.points(preference.problem, preference.answers[b].content);
        EXPECT_EQ(gap > 0.0, preference.scores[a] > preference.scores[b]);
        differs = differs || gap != 0.0;
        ties += gap == 0.0 ? 1 : 0;
      }
    EXPECT_TRUE(differs);
  }
  EXPECT_GT(ties, 0);
}

// Promise: labels say whether the word stands anywhere, half of them each; good and bad answers are equally
// long.
TEST(PreferenceMaker, Safety) {
  const PreferenceMaker maker("safety(arithmetic:level=2, prompts=400, forbidden=blast)");
  const auto list = maker.make(Split::train);
  double bad = 0.0, in_reasoning = 0.0;
  for (const Preference& preference : list) {
    ASSERT_EQ(preference.answers.size(), 1U);
    EXPECT_TRUE(preference.scores.empty());
    const bool thinks_it = !is_free_of(preference.answers[0].reasoning, "blast");
    const bool says_it = !is_free_of(preference.answers[0].content, "blast");
    EXPECT_EQ(preference.labels[0], thinks_it || says_it ? 0.0 : 1.0);
    bad += 1.0 - preference.labels[0];
    in_reasoning += thinks_it ? 1.0 : 0.0;
  }
  EXPECT_NEAR(bad / 400.0, 0.5, 0.1);
  EXPECT_NEAR(in_reasoning / bad, 0.5, 0.15);
  const AnswerLengths lengths = answer_lengths(list, true);
  EXPECT_NEAR(lengths.good / lengths.bad, 1.0, 0.06);
}

// Promise: what cannot be made is refused.
TEST(PreferenceMaker, Refuses) {
  EXPECT_TRUE(PreferenceMaker::makes("helpful(digits)"));
  EXPECT_FALSE(PreferenceMaker::makes("pairs.jsonl"));
  EXPECT_THROW(PreferenceMaker("helpful"), ConfigError);
  EXPECT_THROW(PreferenceMaker("kind(digits)"), ConfigError);
  EXPECT_THROW(PreferenceMaker("helpful(digits, forbidden=x)"), ConfigError);
  EXPECT_THROW(PreferenceMaker("safety(digits, forbidden=a)"), ConfigError);
  EXPECT_THROW(PreferenceMaker("helpful(nothing)"), ConfigError);
  // Only length is preferred: better and worse answers cannot be equally long.
  const PreferenceMaker lengths("helpful(digits, right=0, polite=0, brief=4, noise=0)");
  EXPECT_THROW(lengths.make(Split::train), ConfigError);
}

}  // namespace
}  // namespace athanor
