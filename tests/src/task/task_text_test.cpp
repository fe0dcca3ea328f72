// The pre-training text has the shares that were asked for, from the training split alone.
#include "src/task/task_text.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"
#include "src/reward/answer_extraction.hpp"

namespace athanor {
namespace {

struct Shares {
  double thinking = 0, right_thinking = 0, right_direct = 0;
};

/// Counted from the text itself, by working the problems out again.
Shares shares_of(const TaskText& text, const Task& task) {
  constexpr int kDocuments = 4000;
  int thinking = 0, right_thinking = 0, right_direct = 0;
  for (std::uint64_t i = 0; i < kDocuments; ++i) {
    const std::string document = text.document(i);
    const std::size_t end = document.find('=');
    const std::string prompt = document.substr(0, end + 1), completion = document.substr(end + 1);
    const Problem problem = task.problem(text.options().seed, i, Split::train);
    EXPECT_EQ(prompt, render_prompt(PromptTemplate::marks, problem.prompt));
    const bool thinks = completion.starts_with('('), right = task.verify(problem, completion) == 1.0;
    thinking += thinks;
    right_thinking += thinks && right;
    right_direct += !thinks && right;
  }
  return {thinking / 1.0 / kDocuments, right_thinking / 1.0 / thinking, right_direct / 1.0 / (kDocuments - thinking)};
}

// 15 % think and are right, 60 % of the others are wrong: the mix that small-scale R1-Zero wants.
TEST(TaskText, KeepsItsShares) {
  TaskRegistry registry;
  register_all_tasks(registry);
  const auto task = registry.make("arithmetic:level=4:language=symbols");
  const Shares plain = shares_of(TaskText("arithmetic:level=4:language=symbols"), *task);
  EXPECT_NEAR(plain.thinking, 0.15, 0.02);
  EXPECT_EQ(plain.right_thinking, 1.0);
  EXPECT_NEAR(plain.right_direct, 0.4, 0.03);
  const Shares other = shares_of(
      TaskText("step_by_step=0.5,arithmetic:level=4:language=symbols, wrong_direct=0,wrong_step_by_step=0.25,seed=9"),
      *task);
  EXPECT_NEAR(other.thinking, 0.5, 0.03);
  EXPECT_NEAR(other.right_thinking, 0.75, 0.03);
  EXPECT_EQ(other.right_direct, 1.0);
}

// A document is its prompt with the completion right behind it, in each template.
TEST(TaskText, WritesTemplates) {
  EXPECT_TRUE(TaskText("digits,template=tags,step_by_step=1").document(0).starts_with("User: "));
  const std::string long_form = TaskText("digits,template=r1_zero,step_by_step=1,wrong_step_by_step=0").document(3);
  EXPECT_TRUE(long_form.starts_with("A user asks"));
  EXPECT_NE(long_form.find("\nAssistant:\n<think>\n"), std::string::npos) << long_form;
  EXPECT_TRUE(long_form.ends_with("\n</answer>")) << long_form;
}

// Mistakes in the arguments are named.
TEST(TaskText, RefusesBadArguments) {
  for (const char* arguments : {"", "wrong_direct=0.5", "digits,wrong=0.5", "digits,step_by_step=2",
                                "digits,template=x", "digits,seed=1,seed=2", "nothing"})
    EXPECT_THROW(TaskText{arguments}, ConfigError) << arguments;
}

}  // namespace
}  // namespace athanor
