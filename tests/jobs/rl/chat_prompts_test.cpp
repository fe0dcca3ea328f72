// Problems asked in chat layouts: prompts as the training rendering begins, what ends a completion, what it earns.
#include "jobs/rl/problem_scorer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

#include "src/base/error.hpp"
#include "src/text/byte_tokenizer.hpp"

namespace athanor {
namespace {

ProblemScorerOptions options_of(const std::string& form, const std::string& rewards = "accuracy, format:layout=r1") {
  ProblemScorerOptions options;
  options.tasks = "arithmetic:level=2:language=both";
  options.rewards = rewards;
  options.prompt_template = form;
  options.logs = false;
  return options;
}

/// A completion as a policy would write it, end token included.
Completion completion_of(const Tokenizer& tokenizer, ChatLayout layout, const Problem& problem,
                         const ChatMessage& message) {
  const ChatTemplate chat(layout, tokenizer);
  std::vector<ChatMessage> messages = conversation_of(problem);
  const std::size_t prompt = chat.prompt(messages).size();
  messages.push_back(message);
  const auto ids = chat.training(messages).ids;
  Completion completion;
  completion.tokens.assign(ids.begin() + static_cast<std::ptrdiff_t>(prompt), ids.end());
  return completion;
}

// In every layout the prompt is where the training rendering of the answered problem begins, never behind an eos; the
// layout's end token ends a completion, and no text does.
TEST(ProblemScorer, AsksInChatLayouts) {
  const ByteTokenizer tokenizer;
  for (const auto& [name, layout, end] :
       std::vector<std::tuple<std::string, ChatLayout, std::string>>{{"r1", ChatLayout::r1, "eos"},
                                                                     {"v3", ChatLayout::v3, "eos"},
                                                                     {"chatml", ChatLayout::chatml, "im_end"},
                                                                     {"llama3", ChatLayout::llama3, "eot"}}) {
    const ProblemScorer scorer(options_of(name), tokenizer);
    const Problem problem = scorer.problem(1, 0, Split::train);
    const RolloutPrompt prompt = scorer.prompt(problem, 7);
    const ChatTokens training =
        ChatTemplate(layout, tokenizer)
            .training(std::vector<ChatMessage>{{"user", problem.prompt}, {"assistant", "The answer is 1.", "x"}});
    EXPECT_EQ(prompt.id, 7);
    EXPECT_TRUE(std::equal(prompt.tokens.begin(), prompt.tokens.end(), training.ids.begin()));
    EXPECT_EQ(scorer.stop_ids().front(), tokenizer.special(end));
    EXPECT_EQ(training.ids.back(), tokenizer.special(end));
    EXPECT_TRUE(scorer.stop_strings().empty());
  }
}

// R1's completions are scored by their summary and their form: right, wrong, and never closed reasoning that says the
// answer. The tag shows in the text, the end token does not.
TEST(ProblemScorer, ScoresR1Completions) {
  const ByteTokenizer tokenizer;
  const ProblemScorer scorer(options_of("r1"), tokenizer);
  std::vector<Problem> problems;
  std::vector<Completion> completions;
  for (int i = 0; i < 20; ++i) {
    problems.push_back(scorer.problem(1, i, Split::train));
    const Problem& problem = problems.back();
    const Task& task = scorer.tasks().task_of(problem);
    for (const bool correct : {true, false})
      completions.push_back(
          completion_of(tokenizer, ChatLayout::r1, problem,
                        assistant_message(problem, task.solution(problem, SolutionStyle::step_by_step, correct))));
    Completion unclosed;
    unclosed.tokens = tokenizer.encode("The answer is " + problem.answer + ".");
    completions.push_back(unclosed);
  }

  const ScoredGroups scored = scorer.score(problems, completions, 3);

  for (std::size_t i = 0; i < scored.texts.size(); ++i) {
    EXPECT_EQ(scored.right[i], i % 3 == 0) << scored.texts[i];
    EXPECT_EQ(scored.results[i].total, i % 3 == 0 ? 2.0 : i % 3 == 1 ? 1.0 : 0.0) << scored.texts[i];
    EXPECT_TRUE(scored.thinks[i]);
    EXPECT_EQ(scored.texts[i].find("</think>") == std::string::npos, i % 3 == 2);
    EXPECT_EQ(scored.texts[i].find("end▁of"), std::string::npos);
  }
}

// Layouts without a reasoning are scored by the sentence that states the answer.
TEST(ProblemScorer, ScoresPlainChats) {
  const ByteTokenizer tokenizer;
  const ProblemScorer scorer(options_of("chatml", "accuracy"), tokenizer);
  const Problem problem = scorer.problem(1, 0, Split::held_out);
  const std::vector<Completion> completions{
      completion_of(tokenizer, ChatLayout::chatml, problem,
                    {"assistant", "1+1=2. The answer is " + problem.answer + "."}),
      completion_of(tokenizer, ChatLayout::chatml, problem, {"assistant", "It is " + problem.answer + "."})};
  const ScoredGroups scored = scorer.score(std::span(&problem, 1), completions, 2);
  EXPECT_EQ(scored.right, (std::vector<std::optional<bool>>{true, false}));
  EXPECT_EQ(scored.thinks, (std::vector<bool>{true, false}));
}

}  // namespace
}  // namespace athanor
