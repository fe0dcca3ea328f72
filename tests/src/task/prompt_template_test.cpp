// Templates: conversations as prompts, and what is well formed.
#include "src/task/prompt_template.hpp"

#include <gtest/gtest.h>

namespace athanor {
namespace {

// A conversation keeps its turns, the system's text first; one message alone is a plain prompt.
TEST(PromptTemplate, RendersConversations) {
  Problem problem;
  problem.prompt = "And 3?";
  problem.messages = {{"system", "Be brief."}, {"user", "2+2?"}, {"assistant", "4"}, {"user", "And 3?"}};
  EXPECT_EQ(render_prompt(PromptTemplate::tags, problem),
            "Be brief.\nUser: 2+2?\nAssistant: 4\nUser: And 3?\nAssistant:\n");
  EXPECT_TRUE(render_prompt(PromptTemplate::r1_zero, problem)
                  .ends_with("Be brief.\nUser: 2+2?\nAssistant: 4\nUser: And "
                             "3?\nAssistant:\n"));
  EXPECT_EQ(render_prompt(PromptTemplate::marks, problem), "?Be brief.\n2+2?\n4\nAnd 3?=");
  problem.messages = {{"user", "And 3?"}};
  for (const PromptTemplate form : {PromptTemplate::r1_zero, PromptTemplate::tags, PromptTemplate::marks})
    EXPECT_EQ(render_prompt(form, problem), render_prompt(form, "And 3?"));
}

// A step-by-step solution is well formed in its template and thinks first; a direct one does neither; broken ones are
// not well formed.
TEST(PromptTemplate, KnowsItsOwnForm) {
  const Solution direct{"", "5"}, thinking{"2+3=5", "5"};
  for (const PromptTemplate form : {PromptTemplate::r1_zero, PromptTemplate::tags, PromptTemplate::marks}) {
    EXPECT_TRUE(is_well_formed(form, render_completion(form, thinking)));
    EXPECT_TRUE(thinks_first(form, render_completion(form, thinking)));
    EXPECT_FALSE(is_well_formed(form, render_completion(form, direct)));
    EXPECT_FALSE(thinks_first(form, render_completion(form, direct)));
  }
  for (const char* text : {"(2+3=5", "(2+3=5)", "(2+3=5)>", "()>5", "2+3=5)>5", "(2+3)>5>6", ""})
    EXPECT_FALSE(is_well_formed(PromptTemplate::marks, text)) << text;
}

}  // namespace
}  // namespace athanor
