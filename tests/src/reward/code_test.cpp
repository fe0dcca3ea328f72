// Rewards on programs: which block is run, how outputs are compared, and what a failing program or sandbox costs.
#include "src/reward/code.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

#include "src/base/error.hpp"
#include "src/reward/code_block.hpp"
#include "src/reward/reward_set.hpp"
#include "src/sandbox/system_programs.hpp"
#include "tests/src/reward/samples.hpp"

namespace athanor {
namespace {

RewardSample program(std::string code, std::vector<TestCase> tests, const std::string& language = "python") {
  RewardSample sample = completion("```" + language + "\n" + code + "\n```\n");
  sample.tests = std::move(tests);
  return sample;
}

class CodeRewardTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (python_path().empty()) GTEST_SKIP() << "no python3 in /usr/bin or /usr/local/bin (jobs/setup.sh installs it)";
  }
};

const std::vector<TestCase> kDoubles{{"1", "2"}, {"5", "10\n"}, {"-4", " -8 "}, {"0", "0"}};

// The last whole block of the language is taken, and nothing else.
TEST(CodeBlock, IsTheLastOfItsLanguage) {
  EXPECT_EQ(last_code_block("```python\na\n```\nx\n```python\nb\n```", "python"), "b\n");
  EXPECT_EQ(last_code_block("```python\na\n```\n```cpp\nb\n```", "python"), "a\n");
  EXPECT_EQ(last_code_block("```python\na\n```\n```python\nb", "python"), "a\n");
  EXPECT_EQ(last_code_block("```python3\na\n```", "python"), std::nullopt);
  EXPECT_EQ(last_code_block("```Python\na\n```", "python"), std::nullopt);
  EXPECT_EQ(last_code_block("a = 1", "python"), std::nullopt);
}

// White space at the ends of text and lines is nothing; a missing or surplus line is, but not as published.
TEST(ExpectedOutput, IsComparedByLine) {
  EXPECT_TRUE(is_expected_output("1 2\n3\n", "1 2 \n 3"));
  EXPECT_TRUE(is_expected_output("\n1\r\n2\n\n", "1\n2"));
  EXPECT_TRUE(is_expected_output("", "\n"));
  EXPECT_FALSE(is_expected_output("1  2", "1 2"));
  EXPECT_FALSE(is_expected_output("1", "1\n2"));
  EXPECT_FALSE(is_expected_output("1\n2", "1"));
  EXPECT_TRUE(is_expected_output("1", "1\n2", true));
  EXPECT_TRUE(is_expected_output("1\n2", "1", true));
  EXPECT_TRUE(is_expected_output("", "\n2", true));
  EXPECT_FALSE(is_expected_output("", "1\n2", true));
}

// The score is the share of tests passed; binary_code wants (nearly) all of them.
TEST_F(CodeRewardTest, IsTheShareOfTestsPassed) {
  const RewardSample right = program("print(2 * int(input()))", kDoubles);
  const RewardSample half = program("n = int(input())\nassert n > 0\nprint(2 * n)", kDoubles);
  EXPECT_EQ(score("code", right), 1.0);
  EXPECT_EQ(score("code", half), 0.5);
  EXPECT_EQ(score("binary_code", right), 1.0);
  EXPECT_EQ(score("binary_code", half), 0.0);
}

// No program is 0; no tests, nothing to say.
TEST_F(CodeRewardTest, NeedsABlockAndTests) {
  RewardSample sample = program("print(1)", {{"", "1"}});
  sample.completion = "print(1)";
  EXPECT_EQ(score("code", sample), 0.0);
  EXPECT_EQ(score("code", program("print(1)", {})), std::nullopt);
}

// A program that fails, loops or babbles loses that test alone, and the remark names it.
TEST_F(CodeRewardTest, SaysWhatWasWrong) {
  const auto reward = make_reward("code:timeout=1:output_mb=1");
  const auto remark = [&](const std::string& code) {
    const RewardScore score = reward->evaluate(program(code, {{"1", "1"}, {"2", "2"}}));
    EXPECT_EQ(score.value, 0.5);
    return score.remark;
  };
  const std::string begin = "n = int(input())\nif n == 1: print(1)\n";
  EXPECT_EQ(remark(begin + "else: exit(7)"), "test 2 of 2: exit status 7: ");
  EXPECT_EQ(remark(begin + "else: print(3)"), "test 2 of 2: wrong output");
  EXPECT_EQ(remark(begin + "while n > 1: pass"), "test 2 of 2: not done within 1 s of CPU time (6 s in all)");
  EXPECT_EQ(remark(begin + "if n > 1: print('x' * (2 << 20))"), "test 2 of 2: more than 1048576 bytes of output");
  EXPECT_NE(remark(begin + "else: int('x')").find("ValueError"), std::string::npos);
}

// As published, one timeout costs everything, and lines beyond the shorter text are not looked at.
TEST_F(CodeRewardTest, CanScoreAsPublished) {
  const RewardSample loops = program("n = int(input())\nwhile n > 1: pass\nprint(n)", {{"1", "1"}, {"2", "2"}});
  EXPECT_EQ(score("code:timeout=1:compat=open_r1", loops), 0.0);
  const RewardSample longer = program("print('1\\n2')", {{"", "1"}});
  EXPECT_EQ(score("code", longer), 0.0);
  EXPECT_EQ(score("code:compat=open_r1", longer), 1.0);
}

// C++ where the sample asks for it; what does not compile is 0.
TEST_F(CodeRewardTest, RunsCpp) {
  if (cpp_compiler_path().empty()) GTEST_SKIP() << "no C++ compiler in /usr/bin or /usr/local/bin";
  RewardSample sample =
      program("#include <iostream>\nint main() { int n; std::cin >> n; std::cout << 2 * n; }", kDoubles, "cpp");
  sample.code_language = "cpp";
  EXPECT_EQ(score("code", sample), 1.0);
  RewardSample broken = program("int main() { return x; }", kDoubles, "cpp");
  const RewardScore none = make_reward("code:language=cpp")->evaluate(broken);
  EXPECT_EQ(none.value, 0.0);
  EXPECT_TRUE(none.remark.starts_with("does not compile")) << none.remark;
}

// A language nobody can run loses its sample: an error, not a zero.
TEST_F(CodeRewardTest, ThrowsForUnknownLanguages) {
  RewardSample sample = program("x", kDoubles);
  sample.code_language = "cobol";
  EXPECT_THROW(score("code", sample), Error);
}

// begin() and two rewards on the same programs change no score.
TEST_F(CodeRewardTest, ScoresWhatWasBegun) {
  RewardRegistry registry;
  register_all_rewards(registry);
  const RewardSet set("code, binary_code @ 2", registry);
  std::vector<RewardSample> group;
  for (int i = 0; i < 8; ++i) group.push_back(program("print(" + std::to_string(i % 4) + " * int(input()))", kDoubles));
  const RewardSet::Begun begun = set.begin(group);
  const auto results = set.score_group(group);
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(results[i].total, i % 4 == 2 ? 3.0 : 0.25) << i;
}

// No sandbox: the reward cannot be made, whoever asks.
TEST(CodeReward, RefusesWithoutASandbox) {
  const char* before = std::getenv("ATHANOR_SANDBOX_HELPER");
  const std::string kept = before == nullptr ? "" : before;
  setenv("ATHANOR_SANDBOX_HELPER", "/nowhere", 1);
  EXPECT_THROW(make_reward("code"), ConfigError);
  EXPECT_THROW(make_reward("binary_code"), ConfigError);
  setenv("ATHANOR_SANDBOX_HELPER", kept.c_str(), 1);
}

std::optional<double> code_format(const std::string& text, const std::string& spec = "code_format") {
  return score(spec, completion(text));
}

// The published table: the blocks of format, and a fenced block of the language in the answer.
TEST(CodeFormat, FollowsThePublishedTable) {
  const std::string think = "<think>\nx\n</think>\n<answer>\n";
  const auto with = [&](const std::string& fence) { return think + fence + "\nx = 1\n```\n</answer>"; };
  EXPECT_EQ(code_format(with("```python")), 1.0);
  EXPECT_EQ(code_format(with("```python3")), 1.0);
  EXPECT_EQ(code_format("```python\nx = 1\n```"), 0.0);
  EXPECT_EQ(code_format(think + "x = 1\n</answer>"), 0.0);
  EXPECT_EQ(code_format(with("```javascript")), 0.0);
  EXPECT_EQ(code_format(with("```")), 0.0);
  EXPECT_EQ(code_format("<answer>\n```python\nx\n```\n</answer>\n<think>\nx\n</think>"), 0.0);
  EXPECT_EQ(code_format("<think>\n```python\ny\n```\n</think>\n<answer>\n```python\nx\n```\n</answer>"), 1.0);
  EXPECT_EQ(code_format("<think>\n```python\ny\n```\n</think>\n<answer>\nx\n</answer>"), 0.0);
  EXPECT_EQ(code_format(think + "```python\nx\n</answer>"), 0.0);
  EXPECT_EQ(code_format(with("```javascript"), "code_format:language=javascript"), 1.0);
  EXPECT_EQ(code_format(think + "```python\nclass A:\n  def f(self):\n    return 1\n```\ntext\n</answer>\nmore"), 1.0);
}

}  // namespace
}  // namespace athanor
