// format, tag_count, reasoning_steps: the published scores, and where an answer is looked for.
#include "src/reward/answer_format.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "src/reward/answer_extraction.hpp"
#include "tests/src/reward/samples.hpp"

namespace athanor {
namespace {

const std::string kGood = "<think>\nSome reasoning\n</think>\n<answer>\nThe answer\n</answer>";

// The two blocks, each tag on its own line, are the format, whatever they hold.
TEST(Format, TakesTheTwoBlocks) {
  EXPECT_EQ(scored("format", kGood), 1.0);
  EXPECT_EQ(scored("format",
                   "<think>\n1. a\n2. b\n3. c\n4. d\n5. e\n6. f\n7. g\n8. h\n9. i\n</think>\n<answer>\nx\n</answer>"),
            1.0);
  EXPECT_EQ(scored("format", kGood + "\nmore"), 1.0);
  EXPECT_EQ(scored("format", kGood + "\n"), 1.0);
  EXPECT_EQ(scored("format", "<think>\n\n</think>\n<answer>\n\n</answer>"), 1.0);
  EXPECT_EQ(scored("format", "<think>\na\n</think>\n<answer>\nb\n</answer>\n<answer>\nc\n</answer>"), 1.0);
  EXPECT_EQ(scored("format", "<think>\na\n</think>\n<answer>\nb\n</answer> c\n</answer>"), 1.0);
}

// What the published pattern refuses is refused.
TEST(Format, RefusesTheRest) {
  for (const char* text :
       {"", "<think>\nonly thought\n</think>", "<answer>\nonly answer\n</answer>", "no tags",
        "<think>\na\n</think>\n<answer>b", "<think>\na\n</answer>\n<answer>\nb\n</think>",
        "<think>\n</think>\n<answer>\nb\n</answer>", "<think>\na\n</think>\n\n<answer>\nb\n</answer>",
        " <think>\na\n</think>\n<answer>\nb\n</answer>", "<think>a</think><answer>b</answer>",
        "<think>\na\n</think>\n<answer>\n</answer>", "<think>\na\n</think>\n<answer>\nb\n</answer> c"})
    EXPECT_EQ(scored("format", text), 0.0) << text;
}

// R1's layout: a reasoning, the one closing tag on its line, a blank line, a summary; the opening tag is the prompt's.
TEST(Format, TakesR1Layout) {
  EXPECT_EQ(scored("format:layout=r1", "2+2=4.\n</think>\n\nThe answer is 4."), 1.0);
  EXPECT_EQ(scored("format:layout=r1", "a\n\nb\n</think>\n\nc\n\nd\n"), 1.0);
  for (const char* text :
       {"", "a", "a\n</think>\n\n", "\n</think>\n\nb", " \n</think>\n\nb", "a</think>\n\nb", "a\n</think>\nb",
        "<think>\na\n</think>\n\nb", "a\n</think>\n\nb\n</think>\n\nc", "a\n</think>\n\nb<think>"})
    EXPECT_EQ(scored("format:layout=r1", text), 0.0) << text;
  EXPECT_EQ(scored("format:layout=tags", kGood), 1.0);
  EXPECT_EQ(scored("format:layout=r1", kGood), 0.0);
}

// Each tag counts a quarter, and only once in a text.
TEST(TagCount, CountsEachTagOnce) {
  EXPECT_EQ(scored("tag_count", kGood), 1.0);
  EXPECT_EQ(scored("tag_count", "a\n</think>\n<answer>\nb\n</answer>"), 0.75);
  EXPECT_EQ(scored("tag_count", "<think>\na\n<answer>\nb\n</answer>"), 0.75);
  EXPECT_EQ(scored("tag_count", "<think>\na\n</think>\nb\n</answer>"), 0.75);
  EXPECT_EQ(scored("tag_count", "<think>\na\n</think>\n<answer>\nb"), 0.75);
  EXPECT_EQ(scored("tag_count", "none"), 0.0);
  EXPECT_EQ(scored("tag_count", kGood + "\n</answer>"), 0.75);
}

// A third a sign of steps, up to one; numbered lists count once, as published.
TEST(ReasoningSteps, CountsSigns) {
  EXPECT_DOUBLE_EQ(scored("reasoning_steps", "Step 1: a\nStep 2: b\nStep 3: c"), 1.0);
  EXPECT_DOUBLE_EQ(scored("reasoning_steps", "First, a. Second, b. Finally, c."), 1.0);
  EXPECT_DOUBLE_EQ(scored("reasoning_steps", "Step 1: only"), 1.0 / 3);
  EXPECT_DOUBLE_EQ(scored("reasoning_steps", "First, a. Finally, b."), 2.0 / 3);
  EXPECT_DOUBLE_EQ(scored("reasoning_steps", "Just plain text. Step one: 2. First of all"), 0.0);
  EXPECT_DOUBLE_EQ(scored("reasoning_steps", "1.\n2.\n3."), 1.0 / 3);
  EXPECT_DOUBLE_EQ(scored("reasoning_steps", "- a\n- b\n- c"), 2.0 / 3);
  EXPECT_DOUBLE_EQ(scored("reasoning_steps", "* a\n* b\nNext, c\nSecond, d"), 1.0);
}

// The answer is the last whole block; a tag without its other half, or none at all, is no answer.
TEST(ExtractAnswer, FindsTheLastBlock) {
  EXPECT_EQ(extract_answer(kGood), "The answer");
  EXPECT_EQ(extract_answer("<answer>1</answer> no, <answer> 2\n</answer>\n"), "2");
  EXPECT_EQ(extract_answer("<answer>1</answer><answer>2"), "1");
  EXPECT_EQ(extract_answer("<answer>1"), std::nullopt);
  EXPECT_EQ(extract_answer("1</answer>"), std::nullopt);
  EXPECT_EQ(extract_answer("<think>\n5 > 3"), std::nullopt);
  EXPECT_EQ(extract_answer("(5>3;6>5)>6"), "6");
  EXPECT_EQ(extract_answer("6"), std::nullopt);
  EXPECT_EQ(extract_answer("<answer></answer>"), "");
}

// In R1's layout the summary says the answer, in a sentence, a box or alone on its line; the reasoning never does.
TEST(ExtractAnswer, ReadsTheSummary) {
  const auto answer = [](const std::string& summary) {
    const std::string completion = "So 9>8. The answer is 7. \\boxed{7}\n</think>\n\n" + summary;
    const auto found = extract_answer(completion);
    return found ? std::optional<std::string>(*found) : std::nullopt;  // a copy: the view would outlive the text
  };
  EXPECT_EQ(answer("The answer is 16."), "16");
  EXPECT_EQ(answer("The answer is -9.5. It is below 0."), "-9.5");
  EXPECT_EQ(answer("答案是16。"), "16");
  EXPECT_EQ(answer("最终答案为：木水人。"), "木水人");
  EXPECT_EQ(answer("#### 16"), "16");
  EXPECT_EQ(answer("Well, \\boxed{\\frac{1}{2}} it is."), "\\frac{1}{2}");
  EXPECT_EQ(answer("The answer is 3. No, the answer is 4."), "4");
  EXPECT_EQ(answer("16"), "16");
  EXPECT_EQ(answer("It is 16,\nor 17"), std::nullopt);
  EXPECT_EQ(answer(""), std::nullopt);
  EXPECT_EQ(answer("The answer is"), "The answer is");
  EXPECT_EQ(extract_answer("The answer is 7."), "7");
  EXPECT_EQ(extract_answer("3<5, so 5>3. The answer is 5."), "5");
}

// While a completion that began inside the reasoning has not closed it, nothing in it is an answer, whatever it looks
// like: not for exact texts, not for mathematics, not for countdown.
TEST(ExtractAnswer, NeverReadsTheReasoning) {
  const AnswerChecks checks = all_answer_checks();
  const auto right = [&](const std::string& check, const std::string& text, const std::string& reference) {
    RewardSample sample = completion(text, reference);
    sample.reward_name = check;
    sample.begins_in_thinking = true;
    return checks.is_right(sample).value();
  };
  for (const char* check : {"exact", "math"}) {
    EXPECT_TRUE(right(check, "19-3=16.\n</think>\n\nThe answer is 16.", "16"));
    EXPECT_TRUE(right(check, "19-3=16.\n</think>\n\n答案是16。", "16"));
    EXPECT_TRUE(right(check, "19-3=17.\n</think>\n\n\\boxed{16}", "16"));
    EXPECT_FALSE(right(check, "The answer is 16.\n</think>\n\nThe answer is 17.", "16"));
    EXPECT_FALSE(right(check, "The answer is 16.\n</think>\n\n", "16"));
    EXPECT_FALSE(right(check, "The answer is 16.", "16"));
    EXPECT_FALSE(right(check, "\\boxed{16}", "16"));
    EXPECT_FALSE(right(check, "<answer>16</answer>", "16"));
  }
  EXPECT_TRUE(right("countdown", "2+6=8.\n</think>\n\nThe answer is (2+6)*3.", "24 from 2 3 6"));
  EXPECT_FALSE(right("countdown", "The answer is (2+6)*3.", "24 from 2 3 6"));
}

// Thinking ends where the model says it ends.
TEST(ExtractThinking, LeavesTheAnswerOut) {
  EXPECT_EQ(extract_thinking("<think>a</think><answer>b</answer>"), "a");
  EXPECT_EQ(extract_thinking("a</think>b"), "a");
  EXPECT_EQ(extract_thinking("(5>3)>5"), "5>3");
  EXPECT_EQ(extract_thinking("plain"), "plain");
}

}  // namespace
}  // namespace athanor
