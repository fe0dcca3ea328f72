// Where the answer of a completion is looked for, and what is found there.
#include <gtest/gtest.h>

#include "src/reward/math_answer.hpp"

namespace athanor {
namespace {

using Text = std::optional<std::string>;

// Boxes go first, the last one counts, and those that stand together are one answer.
TEST(ExtractMathAnswer, ReadsBoxes) {
  EXPECT_EQ(extract_math_answer("first \\boxed{1}, and after a long way of thinking \\boxed{\\frac{1}{2}} done 9"),
            Text("1, \\frac{1}{2}"));
  EXPECT_EQ(extract_math_answer("\\boxed{1}. " + std::string(80, 'x') + " \\boxed{\\frac{1}{2}}"),
            Text("\\frac{1}{2}"));
  EXPECT_EQ(extract_math_answer("\\boxed{2} or \\boxed{3}"), Text("2, 3"));
  EXPECT_EQ(extract_math_answer("\\boxed{5}. \\boxed{5}"), Text("5"));
  EXPECT_EQ(extract_math_answer("$\\boxed 7$"), Text("7"));
  EXPECT_EQ(extract_math_answer("\\boxed{\\boxed{7}}"), Text("\\boxed{7}"));
  EXPECT_EQ(extract_math_answer("\\boxed{\\{1\\}}"), Text("\\{1\\}"));
  EXPECT_EQ(extract_math_answer("\\fbox{8}\nthen 3"), Text("3"));
}

// Then anchors, the strongest first, the last of a kind.
TEST(ExtractMathAnswer, ReadsAnchors) {
  EXPECT_EQ(extract_math_answer("The answer is 3. The final answer is $x=5$. I hope it is correct. 9"), Text("x=5"));
  EXPECT_EQ(extract_math_answer("The answer is 3.\nNo, the answer is 4."), Text("4."));
  EXPECT_EQ(extract_math_answer("5 apples + 3\n#### 8"), Text("8"));
  EXPECT_EQ(extract_math_answer("**Answer:** Paris"), Text("Paris"));
  EXPECT_EQ(extract_math_answer("The answer is $2$, $3$ and $5$."), Text("2, 3, 5"));
  EXPECT_EQ(extract_math_answer("The answer is that we need 42 apples because of it"), Text("42"));
  EXPECT_EQ(extract_math_answer("答案是42。"), Text("42"));
}

// Then the last LaTeX or number; a short text is an answer as it is.
TEST(ExtractMathAnswer, ReadsTheLastExpression) {
  EXPECT_EQ(extract_math_answer("We have $a=1$ and so\nwe get $\\sqrt{2}$ in all."), Text("\\sqrt{2}"));
  EXPECT_EQ(extract_math_answer("First 3 apples, then\n5, costs $1,234.50 in all"), Text("1,234.50"));
  EXPECT_EQ(extract_math_answer("It weighs 100m2 in all of\nthem"), Text("100"));
  EXPECT_EQ(extract_math_answer("Paris"), Text("Paris"));
  EXPECT_EQ(extract_math_answer("3/4"), Text("3/4"));
  EXPECT_EQ(extract_math_answer(std::string(300, 'x')), std::nullopt);
  EXPECT_EQ(extract_math_answer(""), std::nullopt);
}

// An answer block is the only place where there is one; thinking never counts; unfinished thinking has no answer.
TEST(ExtractMathAnswer, HonoursTags) {
  EXPECT_EQ(extract_math_answer("<think>\\boxed{1}</think><answer> x>3 </answer>"), Text("x>3"));
  EXPECT_EQ(extract_math_answer("<think>\\boxed{1}</think> So it is \\boxed{2}."), Text("2"));
  EXPECT_EQ(extract_math_answer("<think>\\boxed{1}"), std::nullopt);
  EXPECT_EQ(extract_math_answer("<think>a</think><answer>It takes 5 hours</answer>"), Text("5"));
  EXPECT_EQ(extract_math_answer("(3*4=12)>12"), Text("12"));
}

// The reference may be a whole solution.
TEST(GoldMathAnswer, IsFoundInSolutions) {
  EXPECT_EQ(gold_math_answer("3+4=7\n#### 7"), "7");
  EXPECT_EQ(gold_math_answer("so $x=\\boxed{7}$."), "7");
  EXPECT_EQ(gold_math_answer(" 7 "), "7");
}

}  // namespace
}  // namespace athanor
