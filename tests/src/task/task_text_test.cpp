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

// The stated share of step-by-step solutions mixes languages; prompts come in both, and what is not mixed keeps to one.
TEST(TaskText, MixesLanguagesInTheStatedShare) {
  const TaskText text("arithmetic:level=3:language=both, step_by_step=1, mixed_language=0.5, template=tags");
  int mixed = 0, chinese = 0;
  constexpr int kDocuments = 2000;
  for (std::uint64_t i = 0; i < kDocuments; ++i) {
    const std::string document = text.document(i);
    const std::string thinking(extract_thinking(document));
    const bool asks_in_chinese = document.find("计算") != std::string::npos;
    const bool english = thinking.find("Then") != std::string::npos || thinking.find("First") != std::string::npos;
    const bool han = thinking.find("先算") != std::string::npos || thinking.find("再算") != std::string::npos;
    mixed += (asks_in_chinese ? english : han) ? 1 : 0;
    chinese += asks_in_chinese ? 1 : 0;
  }
  // Of three sentences drawn at random one in eight has none of the other language.
  EXPECT_NEAR(mixed / 1.0 / kDocuments, 0.5 * 7 / 8, 0.03);
  EXPECT_NEAR(chinese / 1.0 / kDocuments, 0.5, 0.03);
}

// Of documents that think first the stated share tells steps and answer in sentences; the others stay as they were.
TEST(TaskText, TellsAnswersInSentences) {
  const std::string arguments = "arithmetic:level=2:language=en,step_by_step=0.5,template=lines";
  const TaskText plain(arguments), some(arguments + ",in_sentences=0.5");
  int told = 0;
  constexpr int kDocuments = 2000;
  for (std::uint64_t i = 0; i < kDocuments; ++i) {
    const std::string document = some.document(i);
    const bool in_sentences = document.find("The answer is ") != std::string::npos;
    told += in_sentences ? 1 : 0;
    EXPECT_TRUE(in_sentences ? document.ends_with(".\n") : document == plain.document(i)) << document;
  }
  EXPECT_NEAR(told / 1.0 / kDocuments, 0.25, 0.03);
}

// Conversations ask in the user's turn and answer in the assistant's, steps as reasoning or before the answer.
TEST(TaskText, WritesChats) {
  const TaskText chats("arithmetic:level=2:language=zh", TaskTextKind::chats);
  const TaskChat chat = chats.chat(0);
  ASSERT_EQ(chat.messages.size(), 2U);
  EXPECT_EQ(chat.messages[0], (ChatMessage{"user", chat.problem.prompt}));
  EXPECT_EQ(chat.messages[1].content, "答案是" + chat.problem.answer + "。");
  EXPECT_TRUE(chat.messages[1].reasoning.starts_with("先算"));
  const ChatMessage open =
      TaskText("arithmetic:level=2:language=zh,steps=content", TaskTextKind::chats).chat(0).messages[1];
  EXPECT_EQ(open.content, chat.messages[1].reasoning + chat.messages[1].content);
  EXPECT_EQ(open.reasoning, "");
  EXPECT_THROW(TaskText("digits,template=tags", TaskTextKind::chats), ConfigError);
}

// Mistakes in the arguments are named.
TEST(TaskText, RefusesBadArguments) {
  for (const char* arguments :
       {"", "wrong_direct=0.5", "digits,wrong=0.5", "digits,step_by_step=2", "digits,template=x", "digits,template=r1",
        "digits,mixed_language=2", "digits,in_sentences=-1", "digits,steps=content", "digits,seed=1,seed=2", "nothing"})
    EXPECT_THROW(TaskText{arguments}, ConfigError) << arguments;
}

}  // namespace
}  // namespace athanor
