// Every task at every level in every wording: determinism, disjoint splits, solutions and their checks.
#include "src/task/task.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "src/base/error.hpp"
#include "src/reward/answer_check.hpp"
#include "src/reward/answer_format.hpp"
#include "src/reward/language_consistency.hpp"
#include "src/task/prompt_template.hpp"
#include "src/task/wording.hpp"
#include "src/text/utf8.hpp"
#include "tests/support/sanitized.hpp"

namespace athanor {
namespace {

TaskRegistry all_tasks() {
  TaskRegistry registry;
  register_all_tasks(registry);
  return registry;
}

struct Case {
  std::string spec;
  std::unique_ptr<Task> task;
};

/// Every task, level and language.
std::vector<Case> every_task() {
  const TaskRegistry registry = all_tasks();
  std::vector<Case> cases;
  for (const std::string& name : registry.names())
    for (int level = 1; level <= 12; ++level)
      for (const char* language : {"en", "zh", "both", "symbols"}) {
        const std::string spec = fmt::format("{}:level={}:language={}", name, level, language);
        try {
          cases.push_back({spec, registry.make(spec)});
        } catch (const ConfigError&) {  // above the task's last level
          EXPECT_GT(level, 4) << spec;
        }
      }
  cases.push_back({"arithmetic:level=4:times=true", registry.make("arithmetic:level=4:times=true")});
  cases.push_back({"countdown:level=5:max=100", registry.make("countdown:level=5:max=100")});
  return cases;
}

bool same(const Problem& a, const Problem& b) {
  return a.prompt == b.prompt && a.answer == b.answer && a.id == b.id && a.form == b.form && a.worked == b.worked &&
         a.language == b.language && a.difficulty == b.difficulty && a.reward_name == b.reward_name;
}

// Right solutions are accepted and wrong ones refused, direct and step by step, in every template.
TEST(Task, ChecksItsOwnSolutions) {
  for (const auto& [spec, task] : every_task())
    for (std::uint64_t index = 0; index < 60; ++index) {
      const Problem problem = task->problem(7, index, Split::train);
      for (const SolutionStyle style : {SolutionStyle::direct, SolutionStyle::step_by_step})
        for (const PromptTemplate form : {PromptTemplate::r1_zero, PromptTemplate::tags, PromptTemplate::marks})
          for (const bool correct : {true, false}) {
            const Solution solution = task->solution(problem, style, correct);
            EXPECT_EQ(solution.thinking.empty(), style == SolutionStyle::direct);
            const std::string completion = render_completion(form, solution);
            ASSERT_EQ(task->verify(problem, completion), correct ? 1.0 : 0.0)
                << spec << ": " << problem.prompt << " / " << completion << " / " << problem.answer;
          }
    }
}

// So are they in the chat layouts, where a sentence says the answer in the problem's language.
TEST(Task, ChecksItsOwnChats) {
  const AnswerChecks checks = all_answer_checks();
  for (const auto& [spec, task] : every_task())
    for (std::uint64_t index = 0; index < 40; ++index) {
      const Problem problem = task->problem(7, index, Split::train);
      for (const bool correct : {true, false}) {
        const ChatMessage message =
            assistant_message(problem, task->solution(problem, SolutionStyle::step_by_step, correct));
        for (const ChatLayout layout : {ChatLayout::r1, ChatLayout::chatml}) {
          RewardSample sample = reward_sample(problem, answer_text(layout, message));
          sample.begins_in_thinking = layout == ChatLayout::r1;
          ASSERT_EQ(checks.is_right(sample), correct) << spec << ": " << problem.prompt << " / " << sample.completion;
        }
      }
    }
}

// Mixed solutions have sentences of both languages and the answer of the plain one, right or wrong; the language reward
// sees the mix, and none in plain ones.
TEST(Task, MixesLanguagesBySentence) {
  const TaskRegistry registry = all_tasks();
  const LanguageConsistencyReward language;
  for (const std::string& name : registry.names()) {
    const auto task = registry.make(name + ":level=3:language=both");
    double mixed = 0.0, clean = 0.0;
    std::set<std::string> languages;
    constexpr std::uint64_t kProblems = 400;
    for (std::uint64_t index = 0; index < kProblems; ++index) {
      const Problem problem = task->problem(3, index, Split::train);
      languages.insert(problem.language);
      for (const bool correct : {true, false}) {
        const Solution plain = task->solution(problem, SolutionStyle::step_by_step, correct);
        const Solution mix = task->solution(problem, SolutionStyle::mixed_language, correct);
        ASSERT_EQ(mix.answer, plain.answer);
        ASSERT_EQ(find_invalid_utf8(mix.thinking), std::nullopt);
        if (!correct) continue;
        clean += *language.score(reward_sample(problem, render_completion(PromptTemplate::tags, plain)));
        mixed += *language.score(reward_sample(problem, render_completion(PromptTemplate::tags, mix)));
      }
    }
    EXPECT_EQ(languages, (std::set<std::string>{"en", "zh"}));
    EXPECT_EQ(clean / kProblems, 1.0) << name;
    // The letters of made-up words are words in either language's sentence.
    EXPECT_LT(mixed / kProblems, name == "words" ? 0.9 : 0.75) << name;
  }
  const auto symbols = registry.make("arithmetic:language=symbols");
  EXPECT_THROW(symbols->solution(symbols->problem(1, 0, Split::train), SolutionStyle::mixed_language, true),
               ConfigError);
}

// Sentences of both languages are told apart at their full stops and joined as each writes them.
TEST(Wording, SentencesOfTwoLanguages) {
  const std::vector<std::string> mixed{"First, 9.5>9.11.", "再算19-3=16。", "Then 1+1=2."};
  EXPECT_EQ(joined_sentences(mixed), "First, 9.5>9.11. 再算19-3=16。Then 1+1=2.");
  EXPECT_EQ(sentences_of(joined_sentences(mixed)), mixed);
  EXPECT_TRUE(sentences_of("").empty());
}

// The same (seed, index, split) is the same problem from another object; another seed or index is another.
TEST(Task, IsAPureFunction) {
  const std::vector<Case> first = every_task(), second = every_task();
  for (std::size_t c = 0; c < first.size(); ++c) {
    int changed = 0;
    for (std::uint64_t index = 0; index < 20; ++index) {
      const Problem problem = first[c].task->problem(3, 1000 + index, Split::held_out);
      ASSERT_TRUE(same(problem, second[c].task->problem(3, 1000 + index, Split::held_out))) << first[c].spec;
      changed += same(problem, first[c].task->problem(4, 1000 + index, Split::held_out)) ? 0 : 1;
      const Solution a = first[c].task->solution(problem, SolutionStyle::step_by_step, false);
      const Solution b = second[c].task->solution(problem, SolutionStyle::step_by_step, false);
      EXPECT_EQ(a.thinking, b.thinking);
      EXPECT_EQ(a.answer, b.answer);
    }
    EXPECT_GE(changed, 10) << first[c].spec;
  }
}

// The first problems of a fixed seed, written down: a change here changes every run's data.
TEST(Task, KeepsItsProblems) {
  const TaskRegistry registry = all_tasks();
  const auto shown = [&](const char* spec) {
    const auto task = registry.make(spec);
    const Problem problem = task->problem(1, 0, Split::train);
    return problem.prompt + " | " + task->solution(problem, SolutionStyle::step_by_step, true).thinking + " | " +
           problem.answer;
  };
  EXPECT_EQ(shown("arithmetic:level=3"), "Compute 6+14-14-14. | First, 6+14=20. Then 20-14=6. Then 6-14=-8. | -8");
  EXPECT_EQ(shown("arithmetic:level=3:language=zh"), "计算6+14-14-14。 | 先算6+14=20。再算20-14=6。再算6-14=-8。 | -8");
  EXPECT_EQ(shown("countdown:level=2"),
            "Make 38 from 19, 6, 13. Use each number once. | First, 13+19=32. Then 32+6=38. | 38 from 19 6 13");
  EXPECT_EQ(shown("words:language=zh"), "把“人水木”倒过来写。 | 各字是人、水、木。倒过来是木、水、人。 | 木水人");
  EXPECT_EQ(shown("logic:language=symbols"), "F|F|F | F|F=F;F|F=F | F");
}

// No held-out problem is ever trained on: 20,000 indices a side, different seeds, mixed languages and levels.
TEST(Task, SplitsAreDisjoint) {
  const TaskRegistry registry = all_tasks();
  for (const std::string& name : registry.names()) {
    const auto low = registry.make(name + ":level=1:language=both"),
               high = registry.make(name + ":level=2:language=zh");
    constexpr std::uint64_t kProblems = kSanitized ? 2000 : 20000;
    std::set<std::string> trained;
    for (std::uint64_t index = 0; index < kProblems; ++index)
      trained.insert((index % 2 == 0 ? low : high)->problem(1, index, Split::train).form);
    std::size_t held_out = 0;
    std::set<std::string> seen;
    for (std::uint64_t index = 0; index < kProblems; ++index) {
      const std::string form = (index % 2 == 0 ? high : low)->problem(2, index, Split::held_out).form;
      ASSERT_FALSE(trained.contains(form)) << name << ": " << form;
      seen.insert(form);
      ++held_out;
    }
    EXPECT_EQ(held_out, kProblems);
    EXPECT_GT(seen.size(), 20U) << name;
  }
}

// About one form in eight is held out, and neighbours in number are not neighbours in side.
TEST(Task, HoldsOutOneInEight) {
  int held_out = 0;
  for (int i = 0; i < 8000; ++i) held_out += split_of_form("arithmetic", fmt::format("1+{}", i)) == Split::held_out;
  EXPECT_GT(held_out, 850);
  EXPECT_LT(held_out, 1150);
}

// Prompts and solutions are UTF-8 in their own language, and short enough for 256 bytes at level 3.
TEST(Task, WritesShortTextInItsLanguage) {
  const LanguageConsistencyReward language;
  for (const auto& [spec, task] : every_task())
    for (std::uint64_t index = 0; index < 30; ++index) {
      const Problem problem = task->problem(5, index, Split::train);
      for (const bool correct : {true, false}) {
        const Solution solution = task->solution(problem, SolutionStyle::step_by_step, correct);
        const std::string completion = render_completion(PromptTemplate::tags, solution);
        EXPECT_EQ(find_invalid_utf8(problem.prompt + completion), std::nullopt) << spec;
        EXPECT_EQ(FormatReward().score(reward_sample(problem, completion)), 1.0) << completion;
        const std::size_t bytes = render_prompt(PromptTemplate::tags, problem.prompt).size() + completion.size();
        EXPECT_LE(bytes, problem.difficulty <= 3 ? 256U : 512U) << spec << ": " << problem.prompt << completion;
        // Made-up words and names are Latin in an English text; a Chinese one has none.
        if (problem.language == "zh") {
          EXPECT_EQ(language.score(reward_sample(problem, completion)), 1.0) << completion;
        }
        if (problem.language == "en") {
          EXPECT_EQ(language.score(reward_sample(problem, completion)), 1.0) << completion;
        }
      }
    }
}

// A harder level asks for more.
TEST(Task, LevelsGetLonger) {
  const TaskRegistry registry = all_tasks();
  for (const std::string& name : registry.names()) {
    std::size_t bytes[2] = {0, 0};
    for (int level = 1; level <= 5; level += 4)
      for (std::uint64_t index = 0; index < 100; ++index)
        bytes[level == 5] +=
            registry.make(fmt::format("{}:level={}", name, level))->problem(1, index, Split::train).prompt.size();
    EXPECT_GT(bytes[1], bytes[0]) << name;
  }
}

// Tasks occur by their weights, and the mixture knows which one made a problem.
TEST(TaskMixture, DrawsByWeight) {
  const TaskMixture mixture("arithmetic:level=2 @ 3, digits @ 1", all_tasks());
  int arithmetic = 0;
  for (std::uint64_t index = 0; index < 2000; ++index) {
    const Problem problem = mixture.problem(1, index, Split::train);
    arithmetic += problem.task == "arithmetic" ? 1 : 0;
    EXPECT_EQ(mixture.task_of(problem).name(), problem.task);
  }
  EXPECT_NEAR(arithmetic, 1500, 90);
}

// Mistakes in a mixture are named.
TEST(TaskMixture, RefusesBadSpecs) {
  const TaskRegistry registry = all_tasks();
  for (const auto& [spec, text] :
       std::vector<std::pair<const char*, const char*>>{{"aritmetic", "nearest is arithmetic"},
                                                        {"arithmetic:levl=2", "nearest is level"},
                                                        {"arithmetic:level=99", "from 1 to 12"},
                                                        {"arithmetic @ 0", "positive"},
                                                        {"arithmetic:language=fr", "not one of en, zh, both, symbols"}})
    try {
      TaskMixture mixture(spec, registry);
      FAIL() << spec;
    } catch (const ConfigError& error) {
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << spec << ": " << error.what();
    }
}

}  // namespace
}  // namespace athanor
