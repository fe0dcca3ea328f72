// Which completions are fit to be learned from; one case a filter, on both sides of its threshold.
#include "src/filter/readability.hpp"

#include <gtest/gtest.h>

#include <string>

namespace athanor {
namespace {

CompletionParts thinking(std::string reasoning, std::string answer = "16") {
  return {CompletionLayout::tags, std::move(reasoning), std::move(answer)};
}
std::optional<Rejection> fault(const CompletionParts& parts, std::string_view language = "en",
                               const ReadabilityOptions& options = {}, std::int64_t tokens = 20) {
  return readability_fault(parts, language, tokens, options);
}

// Solutions as the tasks write them pass with the defaults, in every wording.
TEST(Readability, LetsGoodSolutionsPass) {
  EXPECT_FALSE(fault(thinking("First, 12+7=19. Then 19-3=16.")));
  EXPECT_FALSE(fault(thinking("先算12+7=19。再算19-3=16。"), "zh"));
  EXPECT_FALSE(fault(thinking("12+7=19;19-3=16"), ""));
  EXPECT_FALSE(fault(thinking("First, 12+7=19. Then 19-3=16. Check: 16+3=19, 19-7=12. That is right.")));
}

// Without a reasoning there is nothing to learn thinking from, unless that is asked for.
TEST(Readability, WantsAReasoning) {
  EXPECT_EQ(fault(thinking("")), Rejection::no_format);
  EXPECT_FALSE(fault(thinking(""), "en", {.direct = true}));
}

// Code belongs into the answer.
TEST(Readability, WantsNoCodeInTheReasoning) {
  EXPECT_EQ(fault(thinking("Try ```python\nprint(16)\n```")), Rejection::code_block);
  EXPECT_FALSE(fault(thinking("Try it.", "```python\nprint(16)\n```")));
  EXPECT_FALSE(fault(thinking("Try ```python\nprint(16)\n```"), "en", {.code_blocks = true}));
}

// Tokens of the whole, characters (not bytes) of a paragraph.
TEST(Readability, BoundsLengths) {
  EXPECT_FALSE(fault(thinking("short"), "en", {.max_tokens = 20}, 20));
  EXPECT_EQ(fault(thinking("short"), "en", {.max_tokens = 20}, 21), Rejection::too_long);
  const ReadabilityOptions ten{.max_paragraph = 10};
  EXPECT_FALSE(fault(thinking("一二三四五六七八九十\n一二三四五"), "zh", ten));
  EXPECT_EQ(fault(thinking("一二三四五六七八九十一"), "zh", ten), Rejection::too_long);
  EXPECT_EQ(fault(thinking("one\nabcdefghijk"), "en", ten), Rejection::too_long);
}

// One foreign word in ten may be a name, two in ten are another language; signs have no language.
TEST(Readability, WantsOneLanguage) {
  EXPECT_FALSE(fault(thinking("one two three four five six seven eight nine 十")));
  EXPECT_EQ(fault(thinking("one two three four five six seven eight 九 then 十")), Rejection::mixed_language);
  EXPECT_EQ(fault(thinking("先算12+7=19。Then 19-3=16."), "zh"), Rejection::mixed_language);
  EXPECT_FALSE(fault(thinking("先算12+7=19。Then 19-3=16."), ""));
  EXPECT_FALSE(fault(thinking("12+7=19"), "zh"));
  EXPECT_FALSE(fault(thinking("先算12+7=19。Then 19-3=16."), "zh", {.min_language = 0.3}));
}

// A loop is found in words, in Chinese characters, in signs without blanks, and in the answer.
TEST(Readability, WantsNoLoops) {
  const auto again = [](const std::string& text) { return text + text + text; };
  EXPECT_EQ(fault(thinking(again("so it has to be sixteen then. "))), Rejection::repetitive);
  EXPECT_EQ(fault(thinking(again("所以答案应该就是十六。")), "zh"), Rejection::repetitive);
  EXPECT_EQ(fault(thinking(again("12+7=19;")), ""), Rejection::repetitive);
  EXPECT_EQ(fault(thinking("fine", again("it is sixteen and no other "))), Rejection::repetitive);
  EXPECT_FALSE(fault(thinking(again("so it has to be sixteen then. ")), "en", {.max_repetition = 1.0}));
}

// One completion has one reason: the first in order.
TEST(Readability, NamesTheFirstReason) {
  EXPECT_EQ(fault(thinking("```x``` 九 十 十一"), "en", {.max_tokens = 1}), Rejection::code_block);
  EXPECT_EQ(fault(thinking("九 十 十一"), "en", {.max_tokens = 1}), Rejection::too_long);
}

// Names and reasons are one list.
TEST(Rejection, HasNames) {
  EXPECT_EQ(rejection_name(Rejection::truncated), "truncated");
  EXPECT_EQ(rejection_name(Rejection::mixed_language), "mixed_language");
  EXPECT_EQ(rejection_name(Rejection::over_cap), "over_cap");
}

}  // namespace
}  // namespace athanor
