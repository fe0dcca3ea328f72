// Templates: conversations as prompts, and what is well formed.
#include "src/task/prompt_template.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"

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
  for (const PromptTemplate form :
       {PromptTemplate::r1_zero, PromptTemplate::tags, PromptTemplate::marks, PromptTemplate::lines})
    EXPECT_EQ(render_prompt(form, problem), render_prompt(form, "And 3?"));
}

// A step-by-step solution is well formed in its template and thinks first; a direct one does neither; broken ones are
// not well formed.
TEST(PromptTemplate, KnowsItsOwnForm) {
  const Solution direct{"", "5"}, thinking{"2+3=5", "5"};
  for (const PromptTemplate form :
       {PromptTemplate::r1_zero, PromptTemplate::tags, PromptTemplate::marks, PromptTemplate::lines}) {
    EXPECT_TRUE(is_well_formed(form, render_completion(form, thinking)));
    EXPECT_TRUE(thinks_first(form, render_completion(form, thinking)));
    EXPECT_FALSE(is_well_formed(form, render_completion(form, direct)));
    EXPECT_FALSE(thinks_first(form, render_completion(form, direct)));
  }
  for (const char* text : {"(2+3=5", "(2+3=5)", "(2+3=5)>", "()>5", "2+3=5)>5", "(2+3)>5>6", ""})
    EXPECT_FALSE(is_well_formed(PromptTemplate::marks, text)) << text;
}

// Chat layouts know the completions of their own solutions: with steps and without, broken and cut short.
TEST(PromptTemplate, KnowsChatCompletions) {
  Problem problem;
  problem.language = "en";
  const ChatMessage thinking = assistant_message(problem, {"2+3=5.", "5"}),
                    direct = assistant_message(problem, {"", "5"});
  EXPECT_EQ(thinking, (ChatMessage{"assistant", "The answer is 5.", "2+3=5."}));
  const std::string r1 = answer_text(ChatLayout::r1, thinking);
  EXPECT_TRUE(is_well_formed(PromptTemplate::r1, r1) && thinks_first(PromptTemplate::r1, r1));
  const std::string unthinking = answer_text(ChatLayout::r1, direct);
  EXPECT_FALSE(is_well_formed(PromptTemplate::r1, unthinking) || thinks_first(PromptTemplate::r1, unthinking));
  EXPECT_TRUE(thinks_first(PromptTemplate::r1, "2+3"));
  EXPECT_FALSE(is_well_formed(PromptTemplate::r1, "2+3"));
  for (const PromptTemplate form : {PromptTemplate::v3, PromptTemplate::chatml, PromptTemplate::llama3}) {
    EXPECT_TRUE(is_well_formed(form, "2+3=5. The answer is 5."));
    EXPECT_TRUE(thinks_first(form, "先算2+3=5。答案是5。"));
    EXPECT_FALSE(thinks_first(form, "The answer is 5."));
    EXPECT_FALSE(is_well_formed(form, "2+3=5"));
    EXPECT_FALSE(is_well_formed(form, r1));
  }
}

// A problem is a conversation of its own messages, else of its prompt; chat layouts have names but no text.
TEST(PromptTemplate, ChatLayoutsAreMadeOfTokens) {
  Problem problem;
  problem.prompt = "2+3?";
  EXPECT_EQ(conversation_of(problem), (std::vector<ChatMessage>{{"user", "2+3?"}}));
  EXPECT_EQ(chat_layout_of(parse_prompt_template("llama3")), ChatLayout::llama3);
  EXPECT_EQ(chat_layout_of(parse_prompt_template("tags")), std::nullopt);
  EXPECT_THROW(render_prompt(PromptTemplate::r1, problem), Error);
}

}  // namespace
}  // namespace athanor
