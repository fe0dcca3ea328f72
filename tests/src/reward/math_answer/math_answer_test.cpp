// Comparison of two answers beyond the golden pairs: each case a rule of src/reward/math_answer/README.md.
#include "src/reward/math_answer.hpp"

#include <gtest/gtest.h>

#include "src/reward/answer_check.hpp"
#include "tests/src/reward/samples.hpp"

namespace athanor {
namespace {

bool equal(std::string_view gold, std::string_view candidate) {
  return compare_math_answers(gold, candidate) == MathVerdict::equal;
}

#define EXPECT_SAME(gold, candidate) EXPECT_TRUE(equal(gold, candidate)) << (gold) << " | " << (candidate)
#define EXPECT_OTHER(gold, candidate) \
  EXPECT_EQ(compare_math_answers(gold, candidate), MathVerdict::different) << (gold) << " | " << (candidate)

// Rational numbers of any size are compared exactly; digits behind the sixth place only count where both are exact.
TEST(MathAnswer, ComparesNumbersExactly) {
  EXPECT_SAME("123456789012345678901234567890", "123456789012345678901234567890.0");
  EXPECT_OTHER("123456789012345678901234567890", "123456789012345678901234567891");
  EXPECT_OTHER("1000000000000000001/1000000000000000000", "1");
  EXPECT_SAME("\\frac{100!}{98!}", "9900");
  EXPECT_OTHER("100!", "100!+1");
  EXPECT_SAME("0.\\overline{3}", "1/3");
  EXPECT_SAME("0.1\\overline{6}", "1/6");
  EXPECT_OTHER("0", "0.0000004");
  EXPECT_OTHER("0.0000001", "0.0000002");
  EXPECT_SAME("6.02\\times 10^{23}", "602000000000000000000000");
  EXPECT_SAME("2 \\frac{3}{4}", "11/4");
  EXPECT_SAME("-5", "\u22125");
  EXPECT_SAME("１２", "12");
}

// Expressions in variables: equal as functions where both are real, whatever the form.
TEST(MathAnswer, ComparesExpressionsAsFunctions) {
  EXPECT_SAME("(x+y)^3", "x^3+3x^2y+3xy^2+y^3");
  EXPECT_OTHER("(x+y)^3", "x^3+3x^2y+3xy^2-y^3");
  EXPECT_SAME("\\frac{x^2-1}{x-1}", "x+1");
  EXPECT_SAME("\\ln(xy)", "\\ln x+\\ln y");
  EXPECT_SAME("\\sqrt{x^2}", "|x|");
  EXPECT_OTHER("\\sqrt{x^2}", "x");
  EXPECT_SAME("e^{x+y}", "e^x e^y");
  EXPECT_SAME("2^{n+1}", "2\\cdot 2^n");
  EXPECT_SAME("\\sin 2x", "2\\sin x\\cos x");
  EXPECT_SAME("\\frac{1}{2}\\arcsin x", "0.5\\sin^{-1} x");
  EXPECT_SAME("\\sqrt{x-50}\\cdot\\sqrt{x-50}", "x-50");
  EXPECT_OTHER("x^2", "x^2+10^{-5}");
  EXPECT_SAME("(x+1)^{50}-(x-1)^{50}", "-(x-1)^{50}+(1+x)^{50}");
  EXPECT_SAME("\\sqrt{3+2\\sqrt2}", "1+\\sqrt2");
  EXPECT_SAME("\\sqrt[3]{-8}", "-2");
  EXPECT_SAME("\\cos\\frac{\\pi}{5}", "\\frac{1+\\sqrt5}{4}");
  EXPECT_SAME("\\frac{1}{1+i}", "\\frac{1-i}{2}");
  EXPECT_SAME("\\sum_{k=1}^{10} k^2", "385");
  EXPECT_SAME("\\int_0^{\\pi} \\sin x\\,dx", "2");
}

// A unit on one side does not count; two are converted where they measure the same and differ where they do not.
TEST(MathAnswer, ConvertsUnits) {
  EXPECT_SAME("1\\text{ m}", "100 cm");
  EXPECT_OTHER("10 m", "10 cm");
  EXPECT_OTHER("10 m", "10 s");
  EXPECT_SAME("5\\text{ apples}", "5");
  EXPECT_SAME("36 km/h", "10 m/s");
  EXPECT_SAME("4\\text{ cm}^2", "4 square centimeters");
  EXPECT_SAME("42个", "42");
}

// Sets of reals are compared by membership, so another form of the same set is equal and a moved end is not.
TEST(MathAnswer, ComparesSetsByMembership) {
  EXPECT_SAME("(-\\infty,1)\\cup(1,\\infty)", "\\mathbb{R}\\setminus\\{1\\}");
  EXPECT_SAME("[0,2]", "[0,1]\\cup[1,2]");
  EXPECT_OTHER("[0,2]", "[0,1)\\cup(1,2]");
  EXPECT_SAME("[-2,2]", "|x|\\le 2");
  EXPECT_SAME("-2<x<2", "x^2<4");
  EXPECT_OTHER("-2<x<2", "x^2\\le4");
  EXPECT_SAME("(-\\infty,-1)\\cup(1,\\infty)", "x<-1 or x>1");
  EXPECT_SAME("(1,3]", "x>1, x\\le3");
  EXPECT_OTHER("[1,2]", "[1,2.001]");
  EXPECT_SAME("[a,b]", "[a, b]");
  EXPECT_OTHER("[a,b]", "[a,b)");
  EXPECT_SAME("\\{x\\mid x>0\\}", "(0,\\infty)");
}

// Collections: how often and in which order elements stand counts as it does in mathematics.
TEST(MathAnswer, ComparesCollections) {
  EXPECT_SAME("\\{1,2\\}", "1, 2");
  EXPECT_SAME("2 and 3", "3, 2");
  EXPECT_SAME("x=2 or x=3", "3,2");
  EXPECT_OTHER("1,2,3", "1,2");
  EXPECT_OTHER("1,1,2", "1,2,2");
  EXPECT_SAME("3\\pm\\sqrt2", "3+\\sqrt2, 3-\\sqrt2");
  EXPECT_SAME("x=1,y=2", "(1,2)");
  EXPECT_OTHER("x=1,y=2", "(2,1)");
  EXPECT_SAME("(1,2),(3,4)", "(3,4),(1,2)");
  EXPECT_SAME("1,234", "1234");
  EXPECT_SAME("(1,234)", "(1, 234)");
  EXPECT_OTHER("5", "5 or 6");
}

// Sums, multiples and products of matrices and determinants are worked out.
TEST(MathAnswer, WorksOutMatrices) {
  EXPECT_SAME("2\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{pmatrix}2&4\\\\6&8\\end{pmatrix}");
  EXPECT_SAME("\\begin{pmatrix}1&1\\\\0&1\\end{pmatrix}^2", "\\begin{pmatrix}1&2\\\\0&1\\end{pmatrix}");
  EXPECT_SAME("\\begin{vmatrix}1&2\\\\3&4\\end{vmatrix}", "-2");
  EXPECT_OTHER("\\begin{pmatrix}1&2\\end{pmatrix}", "\\begin{pmatrix}1\\\\2\\end{pmatrix}");
}

// Words, options and Chinese text.
TEST(MathAnswer, ComparesWordsAndOptions) {
  EXPECT_SAME("\\text{Monday}", "monday.");
  EXPECT_SAME("(B)", "\\textbf{(B)}\\ 12");
  EXPECT_OTHER("(B)", "(C) 12");
  EXPECT_OTHER("Paris", "London");
  EXPECT_SAME("北京", "北京。");
  EXPECT_OTHER("x", "X");
  EXPECT_SAME("\\text{June 20}", "June 20");
}

// An equation that names what is asked for is its value; equations are equal up to a factor.
TEST(MathAnswer, TakesNamedValues) {
  EXPECT_SAME("f^{-1}(x)=\\frac{x}{2}", "x/2");
  EXPECT_SAME("\\angle ABC = 30^\\circ", "30");
  EXPECT_SAME("x=2+3=5", "5");
  EXPECT_SAME("5=x", "5");
  EXPECT_SAME("x_1=1, x_2=2", "1, 2");
  EXPECT_SAME("(x-3)^2+(y+2)^2=9", "x^2+y^2-6x+4y+4=0");
  EXPECT_OTHER("x^2=4", "x=2");
  EXPECT_SAME("y=\\sin x", "2y=2\\sin x");
  EXPECT_OTHER("y=\\sin x", "y=\\cos x");
}

// What cannot be read is neither equal nor different, and a reference that cannot be read scores nothing.
TEST(MathAnswer, LeavesTheUnreadableOpen) {
  EXPECT_EQ(compare_math_answers("5", "\\frac{1}{"), MathVerdict::unknown);
  EXPECT_EQ(compare_math_answers("", "5"), MathVerdict::unknown);
  EXPECT_EQ(is_right_math_answer("\\boxed{5}", "\\frac{1}{"), std::nullopt);
  EXPECT_EQ(is_right_math_answer("\\boxed{5}", ""), std::nullopt);
  EXPECT_EQ(is_right_math_answer("\\boxed{\\frac{1}{}", "5"), false);
  EXPECT_EQ(is_right_math_answer("no idea", "5"), false);
}

// accuracy asks this check where a sample names none, and the majority vote counts equal answers together.
TEST(MathCheck, IsTheDefaultOfAccuracy) {
  const AnswerChecks checks = all_answer_checks();
  const auto accuracy = make_reward("accuracy", checks);
  EXPECT_EQ(accuracy->score(completion("so \\boxed{\\frac{2}{4}}", "$\\frac12$")), 1.0);
  EXPECT_EQ(accuracy->score(completion("<think>a</think><answer>0.5</answer>", "$\\frac12$")), 1.0);
  EXPECT_EQ(accuracy->score(completion("so \\boxed{\\frac{2}{5}}", "$\\frac12$")), 0.0);
  RewardSample exact = completion("<answer>05</answer>", "5");
  EXPECT_EQ(accuracy->score(exact), 1.0);
  exact.reward_name = "exact";
  EXPECT_EQ(accuracy->score(exact), 0.0);
  EXPECT_TRUE(checks.give_same_answer(completion("\\boxed{1/2}"), completion("The answer is $0.5$.")));
  EXPECT_FALSE(checks.give_same_answer(completion("\\boxed{1/2}"), completion("The answer is $0.6$.")));
  EXPECT_FALSE(checks.give_same_answer(completion(""), completion("")));
  RewardSample a = completion("<answer>12</answer>"), b = completion("<answer>+12.</answer>");
  a.reward_name = "exact";
  EXPECT_TRUE(checks.give_same_answer(a, b));
}

}  // namespace
}  // namespace athanor
