// Completions of R1-Zero in R1's layout.
#include "src/filter/r1_rewrite.hpp"

#include <gtest/gtest.h>

namespace athanor {
namespace {

// The three layouts, in both languages; a summary that is there already stays.
TEST(RewriteR1, GivesReasoningAndSummary) {
  const auto rewritten = [](std::string_view completion, std::string_view language) {
    return rewrite_r1(split_completion(completion).value(), language);
  };
  const AssistantText marks = rewritten("(First, 12+7=19. Then 19-3=16.)>16", "en");
  EXPECT_EQ(marks.reasoning_content, "First, 12+7=19. Then 19-3=16.");
  EXPECT_EQ(marks.content, "The answer is 16.");

  const AssistantText chinese = rewritten("<think>\n先算12+7=19。再算19-3=16\n</think>\n<answer>\n16\n</answer>", "zh");
  EXPECT_EQ(chinese.reasoning_content, "先算12+7=19。再算19-3=16。");
  EXPECT_EQ(chinese.content, "答案是16。");

  const AssistantText r1 = rewritten("It is 19-3.\n</think>\n\nSo 16 it is.", "en");
  EXPECT_EQ(r1.reasoning_content, "It is 19-3.");
  EXPECT_EQ(r1.content, "So 16 it is.");
}

// Where the question has no language, the letters of the reasoning say it; signs alone have none.
TEST(RewriteR1, TakesTheLanguageOfTheReasoning) {
  const auto summary = [](std::string reasoning) {
    return rewrite_r1({CompletionLayout::tags, std::move(reasoning), "16"}, "").content;
  };
  EXPECT_EQ(summary("She sells 16 of them."), "The answer is 16.");
  EXPECT_EQ(summary("先算12+7=19，x=16。"), "答案是16。");
  EXPECT_EQ(summary("12+7=19;19-3=16"), "#### 16");
}

// Steps become lines, blanks and empty lines lose their surplus, code keeps its own; done twice is done once.
TEST(TidyReasoning, ChangesFormAlone) {
  EXPECT_EQ(tidy_reasoning("12+7=19;19-3=16", ""), "12+7=19\n19-3=16");
  EXPECT_EQ(tidy_reasoning("  a   b \n\n\n\n c\t\td", "en"), "a b\n\nc d.");
  EXPECT_EQ(tidy_reasoning("x:\n```\nif a:\n    b\n\n\nc\n```", "en"), "x:\n```\nif a:\n    b\n\n\nc\n```");
  EXPECT_EQ(tidy_reasoning("", "en"), "");
  for (const char* text : {"12+7=19;19-3=16", "  a   b \n\n\n\n c", "对吗？", "so!"}) {
    const std::string once = tidy_reasoning(text, "zh");
    EXPECT_EQ(tidy_reasoning(once, "zh"), once) << text;
  }
}

// Full stops are not doubled, formulas stay whole, and what is long or has lines speaks for itself.
TEST(SummaryOf, SaysTheAnswer) {
  EXPECT_EQ(summary_of("16.", "en"), "The answer is 16.");
  EXPECT_EQ(summary_of("是。", "zh-CN"), "答案是是。");
  EXPECT_EQ(summary_of("\\boxed{\\frac{1}{2}}", "en"), "The answer is \\boxed{\\frac{1}{2}}.");
  EXPECT_EQ(summary_of("16", ""), "#### 16");
  EXPECT_EQ(summary_of("```python\nprint(1)\n```", "en"), "```python\nprint(1)\n```");
  EXPECT_EQ(summary_of(std::string(201, 'x'), "en"), std::string(201, 'x'));
}

}  // namespace
}  // namespace athanor
