// Where the reasoning of a completion ends and its answer begins.
#include "src/filter/completion_parts.hpp"

#include <gtest/gtest.h>

namespace athanor {
namespace {

void expect_parts(std::string_view completion, CompletionLayout layout, std::string_view reasoning,
                  std::string_view answer) {
  const auto parts = split_completion(completion);
  ASSERT_TRUE(parts) << completion;
  EXPECT_EQ(parts->layout, layout) << completion;
  EXPECT_EQ(parts->reasoning, reasoning);
  EXPECT_EQ(parts->answer, answer);
}

// Each layout the program asks for, with a reasoning and without where it may be missing.
TEST(CompletionParts, KnowsTheLayouts) {
  expect_parts("(12+7=19;19-3=16)>16", CompletionLayout::marks, "12+7=19;19-3=16", "16");
  expect_parts("(is 5>3? yes)> 16 ", CompletionLayout::marks, "is 5>3? yes", "16");
  expect_parts(">16", CompletionLayout::marks, "", "16");
  expect_parts("<think>\nFirst.\n</think>\n<answer>\n16\n</answer>", CompletionLayout::tags, "First.", "16");
  expect_parts("<answer>\n16\n</answer>", CompletionLayout::tags, "", "16");
  expect_parts("First, 12+7=19.\n</think>\n\nThe answer is 16.", CompletionLayout::r1, "First, 12+7=19.",
               "The answer is 16.");
  expect_parts("<think>\nFirst.\n</think>\n\nIt is 16.\nReally.", CompletionLayout::r1, "First.", "It is 16.\nReally.");
}

// What can be read in two ways, is not finished, or answers nothing.
TEST(CompletionParts, RefusesWhatIsNotClear) {
  for (const char* text :
       {"", "16", "(12+7=19", "(12+7=19)>", "(1)>2>3", "<think>a", "a</think>", "a</think>b</think>c",
        "<think>a<think>b</think>c", "<think>a</think><answer>1</answer><answer>2</answer>",
        "<think>a</think><answer>1", "<think>a</think>1</answer>", "a<answer>1</answer></think>2", "<answer></answer>",
        "<answer>1</answer> and more", "(a)>\xff"})
    EXPECT_FALSE(split_completion(text)) << text;
}

}  // namespace
}  // namespace athanor
