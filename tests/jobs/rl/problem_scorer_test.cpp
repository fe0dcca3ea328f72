// What is right: by the answer check, or by tests of a program where there is no answer.
#include "jobs/rl/problem_scorer.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "src/base/error.hpp"
#include "src/sandbox/system_programs.hpp"

namespace athanor {
namespace {

/// A file of problems that is gone with the test.
class ProblemFile {
 public:
  explicit ProblemFile(const std::string& lines)
      : path_(std::filesystem::temp_directory_path() /
              ("athanor_scorer_" + std::to_string(std::hash<std::string>()(lines)) + ".jsonl")) {
    std::ofstream(path_) << lines;
  }
  ~ProblemFile() { std::filesystem::remove(path_); }
  std::string task() const { return "jsonl:" + path_.string() + "(part=all)"; }

 private:
  std::filesystem::path path_;
};

constexpr const char* kCode =
    R"({"prompt": "square", "tests": [{"input": "3", "output": "9"}, {"input": "4", "output": "16"}]})";

std::optional<bool> verdict(const ProblemScorer& scorer, const Tokenizer& tokenizer, const std::string& completion) {
  const std::vector<Problem> problems{scorer.problem(1, 0, Split::held_out)};
  const std::vector<Completion> completions{{.tokens = tokenizer.encode(completion), .logprobs = {}}};
  return scorer.score(problems, completions, 1).right.at(0);
}

std::string program(const std::string& body) { return "```python\nn = int(input())\n" + body + "\n```"; }

// Where tests are all there is, a program is right when it passes every one of them, whatever the rewards are.
TEST(ProblemScorer, DecidesProgramsByTheirTests) {
  if (python_path().empty()) GTEST_SKIP() << "no python3";
  const ProblemFile file(kCode);
  const auto tokenizer = load_tokenizer("byte");
  const ProblemScorer scorer({.tasks = file.task(), .rewards = ""}, *tokenizer);

  EXPECT_EQ(verdict(scorer, *tokenizer, program("print(n * n)")), true);
  EXPECT_EQ(verdict(scorer, *tokenizer, program("print(n + 6)")), false);
  EXPECT_EQ(verdict(scorer, *tokenizer, "n * n"), false);
}

// The limits are those of the reward on programs: here less memory than the program takes.
TEST(ProblemScorer, TakesLimitsFromTheReward) {
  if (python_path().empty()) GTEST_SKIP() << "no python3";
  const ProblemFile file(kCode);
  const auto tokenizer = load_tokenizer("byte");
  const std::string greedy = program("x = bytearray(200 << 20)\nprint(n * n)");
  const ProblemScorer roomy({.tasks = file.task(), .rewards = ""}, *tokenizer);
  const ProblemScorer narrow(
      {.tasks = file.task(), .rewards = "", .program_limits = "accuracy, code:memory_mb=64 @ 0.5"}, *tokenizer);

  EXPECT_EQ(verdict(roomy, *tokenizer, greedy), true);
  EXPECT_EQ(verdict(narrow, *tokenizer, greedy), false);
}

// An answer goes before tests, and a problem that has neither is refused.
TEST(ProblemScorer, AsksTheAnswerFirst) {
  const ProblemFile both(R"({"prompt": "square of 3", "answer": "9", "tests": [{"input": "3", "output": "no"}]})");
  const ProblemFile neither(R"({"prompt": "square of 3"})");
  const auto tokenizer = load_tokenizer("byte");
  const ProblemScorer scorer({.tasks = both.task(), .rewards = ""}, *tokenizer);

  EXPECT_EQ(verdict(scorer, *tokenizer, "<answer>9</answer>"), true);
  EXPECT_EQ(verdict(scorer, *tokenizer, "<answer>8</answer>"), false);
  EXPECT_THROW(ProblemScorer({.tasks = neither.task(), .rewards = "", .logs = false}, *tokenizer), ConfigError);
}

}  // namespace
}  // namespace athanor
