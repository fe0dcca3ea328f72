// Every pair of answers that Math-Verify 0.8.0 was seen to decide, and what is decided here. "fixed" marks those where
// the two differ on purpose (src/reward/math_answer/README.md).
#include <gtest/gtest.h>

#include <string_view>

#include "src/reward/math_answer.hpp"

namespace athanor {
namespace {

struct Pair {
  std::string_view gold, candidate;
  bool equal;
};

void PrintTo(const Pair& pair, std::ostream* out) { *out << pair.gold << " | " << pair.candidate; }

class GoldenPair : public testing::TestWithParam<Pair> {};

// The pair is decided, and as listed.
TEST_P(GoldenPair, IsDecidedAsListed) {
  const auto& [gold, candidate, equal] = GetParam();
  EXPECT_EQ(compare_math_answers(gold, candidate), equal ? MathVerdict::equal : MathVerdict::different)
      << gold << " | " << candidate;
}

// A text is equal to itself in a dollar pair and in a box.
TEST_P(GoldenPair, IsEqualToItselfWrapped) {
  for (const std::string_view text : {GetParam().gold, GetParam().candidate})
    if (text.find('$') == std::string_view::npos) {
      EXPECT_EQ(compare_math_answers(text, "$" + std::string(text) + "$"), MathVerdict::equal) << text;
      EXPECT_EQ(compare_math_answers("\\boxed{" + std::string(text) + "}", text), MathVerdict::equal) << text;
    }
}

constexpr Pair kNumbers[] = {{"1/2", "0.5", true},
                             {"1/3", "0.333333", true},
                             {"1/3", "0.3333", false},
                             {R"(\frac13)", R"(\frac26)", true},
                             {"4", "4.00001", false},
                             {"4", "4.0000001", true},
                             {"5.0", "5", true},
                             {"05", "5", true},
                             {"0.1+0.2", "0.3", true},
                             {"2^{10}", "1024", true},
                             {R"(3\times10^5)", "300000", true},
                             {"10^{-3}", "0.001", true},
                             {"1e3", "1000", true}};  // fixed
constexpr Pair kRoots[] = {{R"(\sqrt{8})", R"(2\sqrt{2})", true},
                           {"√8", "2√2", true},
                           {R"(\sqrt2)", "1.41421356", true},
                           {R"(\frac{\sqrt{3}}{3})", R"(\frac{1}{\sqrt{3}})", true},
                           {"√3/3", "1/√3", true},
                           {R"(\pi)", "3.14159265", true},
                           {"π", "3.14", false},
                           {"4", R"(4\sqrt{2})", false}};
constexpr Pair kThousands[] = {{"1{,}000", "1000", true},
                               {"1,000", "1000", true},
                               {"1000", "1 000", true},
                               {"1000,99", "1000.99", true},
                               {"32, 349", "32349", false}};
constexpr Pair kPercent[] = {{R"(50\%)", "0.5", true}, {"50%", "0.5", true},        {"50%", "50", false},
                             {"50", "50%", false},     {"28%", "28 percent", true}, {R"(\$5.00)", "5", true},
                             {"$5.00", "5", true}};
constexpr Pair kUnits[] = {{R"(10\text{ cm})", "10", true}, {"10 cm", "10", true}, {"10", "10 m", true},
                           {R"(90^\circ)", "90", true},     {"90°", "90", true},   {R"(\frac{\pi}{2})", "90°", false}};
constexpr Pair kSigns[] = {{R"(-\frac34)", R"(\frac{-3}{4})", true},
                           {"−3/4", "(−3)/4", true},
                           {"-3/4", "3/(-4)", true},
                           {R"(1\frac12)", "3/2", true},
                           {"1½", "3/2", true},
                           {"a/b", R"(\frac ab)", true},
                           {"2:3", "2/3", true}};
constexpr Pair kFunctions[] = {{"3!", "6", true},
                               {"C(5,2)", "10", true},
                               {R"(\binom{5}{2})", "10", true},
                               {R"(\log_2 8)", "3", true},
                               {R"(\log_{2}(8))", "3", true},
                               {R"(\ln e)", "1", true},
                               {"|-3|", "3", true},
                               {R"(\lfloor 3.7\rfloor)", "3", true},
                               {R"(\tan 45^\circ)", "1", false},
                               {R"(17 \bmod 5)", "2", false}};
constexpr Pair kAlgebra[] = {{"x^2-1", "(x-1)(x+1)", true},       {"x^2-1", "(y-1)(y+1)", false},
                             {R"(\sin^2 x+\cos^2 x)", "1", true}, {R"(\tan^2 y+1)", R"(\sec^2 y)", true},
                             {R"(2\pi r)", R"(2r\pi)", true},     {"f(x)", "f(y)", false}};
constexpr Pair kCalculus[] = {{R"(\sum_{k=1}^3 k)", "6", true}, {R"(\int_0^1 x\,dx)", "1/2", true}};
constexpr Pair kComplex[] = {{"2+3i", "3i+2", true}, {"i^2", "-1", true}, {R"(e^{i\pi})", "-1", true}};  // two fixed
constexpr Pair kTuples[] = {
    {"(1,2)", "(1, 2)", true}, {"(1,2)", "(2,1)", false}, {"(1,9/2)", "(1,4.5)", true}, {"(p,q)=(3,2)", "(3,2)", true}};
constexpr Pair kSets[] = {{R"(\{1,2\})", R"(\{2,1\})", true},
                          {"{1,2}", "{2,1}", true},
                          {"1,2", "2,1", true},
                          {"(1,2)", R"(\{1,2\})", true},
                          {"(3,1)", R"(\{1,3\})", false},
                          {R"(\pm 3)", R"(\{-3,3\})", true},
                          {"±3", "3", false},
                          {R"(\emptyset)", R"(\{\})", true},
                          {"∅", "{}", true},
                          {R"(\emptyset)", R"(\varnothing)", true}};  // fixed
constexpr Pair kIntervals[] = {
    {"[1,2]", "(1,2)", false},
    {R"((-\infty,3))", "x<3", true},  // fixed
    {"x<3", R"((-\infty,3))", true},
    {"1<x<2", "(1,2)", true},
    {"(1,2)", "1<x<2", false},
    {R"(\mathbb{R})", R"((-\infty,\infty))", true},
    {"ℝ", "(−∞,∞)", true},
    {R"(x\in[0,1])", "[0,1]", true},
    {R"(1\le|z|\le\frac32)", R"([-\frac32,-1]\cup[1,\frac32])", true},
    {R"(1\le|z|\le\frac32)", R"([-\frac32,-1]\cup(1,\frac32])", false},
    {R"(\infty)", R"(+\infty)", true},
    {R"(\infty)", R"(-\infty)", false},
};
constexpr Pair kInequalities[] = {
    {R"(x\ge2)", "x>2", false}, {R"(x\le5)", R"(5\ge x)", true}, {"x<1", "-x>-1", true}, {"x<1", "-x<-1", false}};
constexpr Pair kAssignments[] = {{"x=5", "5", true},          {"5", "x=5", true},
                                 {"x=5", "y=5", false},       {"a=1,b=2", "b=2,a=1", true},
                                 {"AB=4, CD=5", "4,5", true}, {"p=5,q=2;p=7,q=2", "(5,2),(7,2)", true}};
constexpr Pair kEquations[] = {{"y=2x+1", "2x+1", true},
                               {"y=2x+1", "y-2x=1", true},
                               {"y=2x+1", "2x-y+1=0", true},
                               {"y=2x+1", "2x-y-1=0", false},
                               {"34x+45y-20z+100=0", "-34x-45y+20z-100=0", true},
                               {R"(\frac{x^2}{4}+\frac{y^2}{3}=1)", "3x^2+4y^2=12", true},
                               {"7=11a+c", "11a+c", false},
                               {"2x+z=1", "1", false}};
constexpr Pair kMatrices[] = {
    {R"(\begin{pmatrix}1&2\\3&4\end{pmatrix})", R"(\begin{bmatrix}1&2\\3&4\end{bmatrix})", true},
    {R"(\begin{pmatrix}1&2\\3&4\end{pmatrix}+\begin{pmatrix}1&0\\0&1\end{pmatrix})",
     R"(\begin{pmatrix}2&2\\3&5\end{pmatrix})", true},
    {R"(\begin{pmatrix}1&2\\3&4\end{pmatrix})", R"(\begin{pmatrix}1&2\\3&5\end{pmatrix})", false}};
constexpr Pair kTexts[] = {{R"(\text{Paris})", "Paris", true}, {R"(\text{(A)})", "A", true},
                           {"A", R"(\text{A})", true},         {"7:30", "7:30", true},
                           {"12:00", "1:00", false},           {"2", "AZYUK2A", false}};
constexpr Pair kBases[] = {{"10_2", "10_2", true}, {"1010_2", "10", false}};
constexpr Pair kWrongPositives[] = {{R"(1-\frac1e)", R"(1+\frac1e)", false}};  // fixed

#define ATHANOR_PAIRS(name) INSTANTIATE_TEST_SUITE_P(name, GoldenPair, testing::ValuesIn(k##name))
ATHANOR_PAIRS(Numbers);
ATHANOR_PAIRS(Roots);
ATHANOR_PAIRS(Thousands);
ATHANOR_PAIRS(Percent);
ATHANOR_PAIRS(Units);
ATHANOR_PAIRS(Signs);
ATHANOR_PAIRS(Functions);
ATHANOR_PAIRS(Algebra);
ATHANOR_PAIRS(Calculus);
ATHANOR_PAIRS(Complex);
ATHANOR_PAIRS(Tuples);
ATHANOR_PAIRS(Sets);
ATHANOR_PAIRS(Intervals);
ATHANOR_PAIRS(Inequalities);
ATHANOR_PAIRS(Assignments);
ATHANOR_PAIRS(Equations);
ATHANOR_PAIRS(Matrices);
ATHANOR_PAIRS(Texts);
ATHANOR_PAIRS(Bases);
ATHANOR_PAIRS(WrongPositives);
#undef ATHANOR_PAIRS

}  // namespace
}  // namespace athanor
