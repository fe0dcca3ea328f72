// Answers made to hurt: a verdict comes back, the stack holds, and the work is bounded by the budget of steps. There is
// no clock here; a comparison that escapes its bounds ends in the time limit of the test or in a crash.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "src/reward/math_answer.hpp"

namespace athanor {
namespace {

std::string repeated(std::string_view text, std::size_t times) {
  std::string all;
  all.reserve(text.size() * times);
  for (std::size_t i = 0; i < times; ++i) all += text;
  return all;
}

std::string nested(std::string_view open, std::string_view inside, std::string_view close, std::size_t levels) {
  return repeated(open, levels) + std::string(inside) + repeated(close, levels);
}

/// As answers and as completions, both ways round: never equal to 7, and never an exception.
void expect_not_seven(const std::string& text) {
  const std::string shown = text.substr(0, 40);
  EXPECT_NE(compare_math_answers("7", text), MathVerdict::equal) << shown;
  EXPECT_NE(compare_math_answers(text, "7"), MathVerdict::equal) << shown;
  EXPECT_NE(is_right_math_answer("\\boxed{" + text + "}", "7"), std::nullopt) << shown;
  EXPECT_NE(is_right_math_answer(text, "7"), std::nullopt) << shown;
  is_right_math_answer("The answer is 7", text);
  compare_math_answers(text + " ", text + "+0");
}

// Ten megabytes of digits or boxes, one of anything else.
TEST(HostileAnswer, MayBeMegabytes) {
  constexpr std::size_t kMega = 1'000'000;
  for (const std::string_view unit : {"9", "\\boxed{"}) expect_not_seven(repeated(unit, 10 * kMega / unit.size()));
  for (const std::string_view unit :
       {"x", "$", "{", "(", "-", "1,", "answer is ", "\\frac", "<answer>", "}", "\\(", "1+", "#### "})
    expect_not_seven(repeated(unit, kMega / unit.size()));
}

// Braces, parentheses, fractions, roots, exponents, sets, bars, functions, matrices: deep at 100,000 levels and at
// those few hundred that still fit the longest answer that is read.
TEST(HostileAnswer, MayBeDeep) {
  const std::vector<std::vector<std::string_view>> shapes{{"{", "6", "}"},
                                                          {"(", "6", ")"},
                                                          {"[", "6", "]"},
                                                          {"\\{", "6", "\\}"},
                                                          {"\\frac{1}{", "6", "}"},
                                                          {"\\frac{", "6", "}{1}"},
                                                          {"\\frac", "12", ""},
                                                          {"\\sqrt{", "6", "}"},
                                                          {"\\sqrt", "6", ""},
                                                          {"\\sqrt[3]", "6", ""},
                                                          {"\\sqrt[", "6", "]{2}"},
                                                          {"2^", "6", ""},
                                                          {"2^{", "6", "}"},
                                                          {"\\left|", "6", "\\right|"},
                                                          {"|", "6", "|"},
                                                          {"\\sin ", "6", ""},
                                                          {"f(", "6", ")"},
                                                          {"x_{", "6", "}"},
                                                          {"\\text{", "6", "}"},
                                                          {"\\boxed{", "6", "}"},
                                                          {"\\sum_{k=1}^{2}", "6", ""},
                                                          {"\\int_0^1 ", "6", "dx"},
                                                          {"\\lfloor ", "6", "\\rfloor "},
                                                          {"\\begin{pmatrix}", "6", "\\end{pmatrix}"},
                                                          {"\\log_", "6", ""},
                                                          {"\\lim_{x\\to ", "6", "} x"},
                                                          {"1+(", "6", ")"},
                                                          {"\\pm ", "6", ""},
                                                          {"\\binom{6}{", "6", "}"},
                                                          {"max(", "6", ")"}};
  for (const auto& shape : shapes) {
    const std::size_t most_read = (MathLimits{}.max_bytes - 2) / (shape[0].size() + shape[2].size());
    for (const std::size_t levels : {std::size_t{20}, std::size_t{60}, most_read, std::size_t{100'000}})
      expect_not_seven(nested(shape[0], shape[1], shape[2], levels));
  }
}

// Towers of powers, factorials, binomials, sums and numbers with huge exponents are never expanded.
TEST(HostileAnswer, MayBeHugeNumbers) {
  for (const std::string_view text : {"9^9^9",
                                      "9^{9^{9}}",
                                      "9^{9^{9^{9}}}",
                                      "9^9^9^9^9^9^9",
                                      "9!!!!!!!",
                                      "((9!)!)!",
                                      "99999999!",
                                      "1e999999999",
                                      "1e9999999",
                                      "1e-9999999",
                                      "10^{-999999999999999999999}",
                                      "\\binom{999999999}{499999999}",
                                      "C(99999,50000)",
                                      "\\sum_{k=1}^{99999999999} k",
                                      "\\prod_{k=1}^{99999} k^{k}",
                                      "\\sum_{a=1}^{99999}\\sum_{b=1}^{99999} a^b",
                                      "\\sum_{a=1}^{9999}\\sum_{b=1}^{9999}\\sum_{c=1}^{9999} \\sin(a^b+c)",
                                      "\\int_0^1\\int_0^1\\int_0^1\\int_0^1 x y z w\\,dx\\,dy\\,dz\\,dw",
                                      "(a+b+c+d+e+f)^{999999999}",
                                      "(x+1)^{99999}(x-1)^{99999}",
                                      "\\sin(9^{9^{9}})",
                                      "0^{0^{0}}",
                                      "1/0",
                                      "\\frac{1}{x-x}",
                                      "\\log_1 5",
                                      "0^{-1}",
                                      "\\infty-\\infty",
                                      "\\max(1,\\infty)",
                                      "2^{-9223372036854775808}",
                                      "(-9223372036854775808)\\cdot(-1)"})
    expect_not_seven(std::string(text));
  EXPECT_EQ(compare_math_answers("9^{9^9}", "9^{387420489}"), MathVerdict::equal);
  EXPECT_EQ(compare_math_answers("9^{9^9}", "9^{387420489}+1"), MathVerdict::different);
  EXPECT_EQ(compare_math_answers("2^{1000}-1", "2^{1000}"), MathVerdict::different);
  EXPECT_EQ(compare_math_answers("9^{9^{9^9}}", "7"), MathVerdict::unknown);
}

// A million signs, long sums, long products, long lists, large matrices, many sets, many units.
TEST(HostileAnswer, MayBeWide) {
  for (const std::string_view unit :
       {"-",          "+",          "+-",   "\\pm ",    "1+", "x+",         "2x",        "x",   "1,", "x=",  "1<",
        "\\cup[1,2]", "[1,2]\\cup", "1&",   "1\\\\",    "a:", "1;",         "3!",        "\\%", "'",  "cm ", "ab ",
        "1 or ",      "\\sqrt2+",   "e^x+", "\\sin x+", "x/", "9999999999", "\\text{a}", "东",  "²"})
    for (const std::size_t bytes : {1500u, 8000u, 100'000u}) {
      const std::string many = repeated(unit, bytes / unit.size());
      expect_not_seven(many + "6");
      compare_math_answers(many + "6", many + "8");
    }
  expect_not_seven(repeated("-", 1'000'000) + "6");
  const std::string row = repeated("x&", 40) + "1\\\\";
  const std::string matrix = "\\begin{pmatrix}" + repeated(row, 40) + "\\end{pmatrix}";
  expect_not_seven(matrix);
  expect_not_seven(matrix + matrix + matrix + matrix);
  expect_not_seven(matrix + "^6");
  compare_math_answers(matrix + "+" + matrix, matrix + matrix);
}

// Lists whose elements all have to be tried against each other end in the budget.
TEST(HostileAnswer, MayBeSetsThatHardlyMatch) {
  std::string gold, candidate;
  for (int i = 0; i < 250; ++i) {
    gold += "\\sqrt{" + std::to_string(i) + "},";
    candidate += "\\sqrt{" + std::to_string(250 - i) + "},";
  }
  EXPECT_NE(compare_math_answers(gold + "x", candidate + "y"), MathVerdict::equal);
}

// Bytes that are no characters, zeros, and every single byte.
TEST(HostileAnswer, MayBeNoText) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string one(1, static_cast<char>(byte));
    if (one != "7") expect_not_seven(one);
    expect_not_seven(repeated(one, 5000));
    expect_not_seven("6" + one + "\\frac{1}{" + one + "}");
  }
  expect_not_seven("\xF0\x9F");
  expect_not_seven("\xED\xA0\x80");
  expect_not_seven("\xC0\xAF/2");
  EXPECT_EQ(compare_math_answers("7", "7\xFF"), compare_math_answers("7", "7\xFE"));
}

// Texts cut off anywhere, and signs drawn by chance, are read without harm.
TEST(HostileAnswer, MayBeCutAnywhereOrDrawnByChance) {
  const std::string whole =
      R"(\frac{1}{2}+\sqrt[3]{x^{2}}\le\left|y\right|\cup\{a\mid a>0\}, \begin{pmatrix}1&2\\3&4\end{pmatrix}\int_0^1 x dx)";
  for (std::size_t length = 0; length <= whole.size(); ++length) {
    expect_not_seven(whole.substr(0, length));
    expect_not_seven(whole.substr(length));
  }
  static constexpr std::string_view kParts[] = {"1",
                                                "2",
                                                "x",
                                                "y",
                                                "i",
                                                "e",
                                                "+",
                                                "-",
                                                "*",
                                                "/",
                                                "^",
                                                "_",
                                                "(",
                                                ")",
                                                "[",
                                                "]",
                                                "{",
                                                "}",
                                                "\\{",
                                                "\\}",
                                                "|",
                                                ",",
                                                ";",
                                                "=",
                                                "<",
                                                ">",
                                                "\\le ",
                                                "\\frac",
                                                "\\sqrt",
                                                "\\pi ",
                                                "\\infty ",
                                                "\\cup ",
                                                "\\in ",
                                                "\\pm ",
                                                "!",
                                                "%",
                                                " ",
                                                "\\sum_{k=1}^",
                                                "\\int_0^1 ",
                                                "dx",
                                                "\\begin{pmatrix}",
                                                "&",
                                                "\\\\",
                                                "\\end{pmatrix}",
                                                "\\sin ",
                                                "\\log_",
                                                "f(",
                                                "and",
                                                "or",
                                                ":",
                                                "°",
                                                "cm",
                                                "\\text{a}",
                                                "'",
                                                "\\binom",
                                                "\\mathbb{R}",
                                                "\\emptyset ",
                                                "1.5"};
  std::uint64_t state = 1;
  const auto draw = [&](std::size_t below) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    return static_cast<std::size_t>(state >> 33) % below;
  };
  for (int i = 0; i < 2000; ++i) {
    std::string gold, candidate;
    for (std::size_t part = 0, parts = 1 + draw(12); part < parts; ++part) gold += kParts[draw(std::size(kParts))];
    for (std::size_t part = 0, parts = 1 + draw(12); part < parts; ++part) candidate += kParts[draw(std::size(kParts))];
    EXPECT_EQ(compare_math_answers(gold, candidate), compare_math_answers(gold, candidate))
        << gold << " | " << candidate;
    is_right_math_answer(candidate, gold);
    is_right_math_answer("$" + candidate + "$ is \\boxed{" + gold + "}", candidate);
  }
}

}  // namespace
}  // namespace athanor
