// Users' files as tasks: sides, order, bad lines, and the real GSM8K where it lies beside the project.
#include "io/dataset/problem_file_task.hpp"

#include <fmt/format.h>

#include <set>

#include "tests/io/dataset/dataset_fixture.hpp"

namespace athanor {
namespace {
using namespace athanor::testing;

std::string line(int number) { return fmt::format("{{\"prompt\":\"{0}+1\",\"answer\":{1}}}\n", number, number + 1); }

std::string lines(int first, int last) {
  std::string text;
  for (int number = first; number < last; ++number) text += line(number);
  return text;
}

class ProblemFileTaskTest : public ::testing::Test {
 protected:
  std::unique_ptr<Task> make(const std::string& spec, bool is_benchmark = false) {
    TaskRegistry registry;
    register_problem_files(
        registry,
        {.refusal = [](const Problem& problem) { return std::string(problem.prompt.size() > 60 ? "too long" : ""); },
         .report = [this](const std::string& text) { reports_.push_back(text); },
         .is_benchmark = is_benchmark});
    return registry.make(spec);
  }
  std::string refusal(const std::string& spec) {
    try {
      make(spec);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no error";
  }
  std::set<std::string> prompts(const Task& task, Split split, std::uint64_t seed, std::uint64_t first) {
    std::set<std::string> prompts;
    for (std::int64_t i = 0; i < *task.num_problems(split); ++i)
      prompts.insert(task.problem(seed, first + static_cast<std::uint64_t>(i), split).prompt);
    return prompts;
  }

  ScratchFolder folder_;
  std::vector<std::string> reports_;
};

// The prompt decides the side: nothing trained on is held out, in one file or in two with the same lines in another
// order, and about one problem in eight is.
TEST_F(ProblemFileTaskTest, SplitsByPrompt) {
  const auto task = make("jsonl:" + folder_.write("a.jsonl", lines(0, 400)));
  const auto other = make("jsonl:" + folder_.write("b.jsonl", lines(200, 400) + lines(0, 200)));
  const auto train = prompts(*task, Split::train, 1, 0), held_out = prompts(*task, Split::held_out, 1, 0);
  EXPECT_EQ(train.size() + held_out.size(), 400U);
  EXPECT_NEAR(static_cast<double>(held_out.size()), 50.0, 20.0);
  for (const std::string& prompt : held_out) EXPECT_FALSE(train.contains(prompt)) << prompt;
  EXPECT_EQ(held_out, prompts(*other, Split::held_out, 9, 0));
}

// Each pass over a side gives every problem once, in an order that follows from seed and index alone.
TEST_F(ProblemFileTaskTest, PassesOverEveryProblem) {
  const std::string file = folder_.write("a.jsonl", lines(0, 50));
  const auto task = make("jsonl:" + file), again = make("jsonl:" + file);
  const auto count = static_cast<std::uint64_t>(*task->num_problems(Split::train));
  const auto all = prompts(*task, Split::train, 3, 0);
  EXPECT_EQ(all.size(), count);
  EXPECT_EQ(prompts(*task, Split::train, 3, 7 * count), all);
  int moved = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::string prompt = task->problem(3, i, Split::train).prompt;
    EXPECT_EQ(prompt, again->problem(3, i, Split::train).prompt);
    moved += prompt != task->problem(3, i + count, Split::train).prompt ? 1 : 0;
  }
  EXPECT_GT(moved, 30);
}

// A file of held-out problems is held out whole, and what is in both is not trained on.
TEST_F(ProblemFileTaskTest, TakesAHeldOutFile) {
  const std::string train = folder_.write("train.jsonl", lines(0, 20)),
                    test = folder_.write("test.jsonl", lines(15, 25));
  const auto task = make("jsonl:" + train + "(held_out=" + test + ")");
  EXPECT_EQ(task->num_problems(Split::held_out), 10);
  EXPECT_EQ(task->num_problems(Split::train), 15);
  ASSERT_EQ(reports_.size(), 1U);
  EXPECT_NE(reports_[0].find("5 problems"), std::string::npos) << reports_[0];
}

// A benchmark is the whole file unless a part is asked for.
TEST_F(ProblemFileTaskTest, ABenchmarkIsTheWholeFile) {
  const std::string file = folder_.write("a.jsonl", lines(0, 100));
  const auto whole = make("jsonl:" + file, true), part = make("jsonl:" + file + ":part=split", true);
  EXPECT_EQ(whole->num_problems(Split::held_out), 100);
  EXPECT_LT(*part->num_problems(Split::held_out), 40);
  EXPECT_THROW(whole->problem(1, 0, Split::train), ConfigError);
}

// Bad lines up to the stated share are left out and reported with file and line; one more is an error that names them.
TEST_F(ProblemFileTaskTest, LeavesOutBadLinesUpToAShare) {
  const std::string bad = "{\"prompt\":\"x\"\n{\"answer\":\"3\"}\n{\"prompt\":\"no answer\"}\n{\"prompt\":\"" +
                          std::string(70, 'x') +
                          "\",\"answer\":1}\n{\"prompt\":\"p\",\"answer\":1,\"reward\":\"exakt\"}\n";
  const std::string file = folder_.write("a.jsonl", lines(0, 45) + bad + lines(45, 90) + "\n\n");
  const auto task = make("jsonl:" + file + "(max_bad=0.06, part=all)");
  EXPECT_EQ(task->num_problems(Split::held_out), 90);
  ASSERT_EQ(reports_.size(), 5U);
  const std::vector<std::string> wanted{"parse error", "prompt: missing", "no answer that its check can read",
                                        "too long", "nearest is exact"};
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_TRUE(reports_[i].starts_with(fmt::format("{}: line {}: ", file, 46 + i))) << reports_[i];
    EXPECT_NE(reports_[i].find(wanted[i]), std::string::npos) << reports_[i];
  }
  reports_.clear();
  const std::string message = refusal("jsonl:" + file);
  EXPECT_NE(message.find("5 of 95 lines cannot be used, more than the 1 % allowed"), std::string::npos) << message;
  EXPECT_NE(message.find(file + ": line 46: "), std::string::npos) << message;
  EXPECT_TRUE(reports_.empty());
}

// What a spec says is heard: names, defaults for lines that say nothing, other fields; mistakes are refused.
TEST_F(ProblemFileTaskTest, HearsItsOptions) {
  const std::string file = folder_.write("q.jsonl", R"({"question":"2+2?","answer":"4 it is #### 4"})"
                                                    "\n");
  const auto task = make("jsonl:" + file + "(format=gsm8k, name=mine, language=en, reward=exact, part=all)");
  const Problem problem = task->problem(1, 0, Split::held_out);
  EXPECT_EQ(task->name(), "mine");
  EXPECT_EQ(problem.task, "mine");
  EXPECT_EQ(problem.answer, "4");
  EXPECT_EQ(problem.language, "en");
  EXPECT_EQ(problem.reward_name, "exact");
  EXPECT_EQ(task->verify(problem, "<answer>4</answer>"), 1.0);
  EXPECT_EQ(make("jsonl:" + folder_.write("r.jsonl", lines(0, 9)) + ":part=all")->name(), "r");
  EXPECT_NE(refusal("jsonl").find("write jsonl:FILE"), std::string::npos);
  EXPECT_NE(refusal("jsonl:" + file + "(fromat=gsm8k)").find("nearest is format"), std::string::npos);
  EXPECT_NE(refusal("jsonl:missing.jsonl").find("missing.jsonl: no such file"), std::string::npos);
  EXPECT_NE(refusal("jsonl:" + folder_.write("one.jsonl", line(1))).find("held_out=FILE"), std::string::npos);
}

// Another content is another fingerprint; the file's name and place are not part of it.
TEST_F(ProblemFileTaskTest, FingerprintsTheContent) {
  const auto print = [&](const char* name, const std::string& text) {
    return make("jsonl:" + folder_.write(name, text))->fingerprint();
  };
  const std::uint64_t first = print("a.jsonl", lines(0, 40));
  EXPECT_EQ(print("b.jsonl", lines(0, 40)), first);
  EXPECT_NE(print("c.jsonl", lines(0, 41)), first);
  EXPECT_NE(print("d.jsonl", lines(1, 40) + line(0)), first);
}

// The real GSM8K: every line of both files can be used, answers are the numbers behind "####".
TEST_F(ProblemFileTaskTest, ReadsGsm8k) {
  const char* given = std::getenv("ATHANOR_TEST_DATA");
  const std::string data = given ? given : ATHANOR_SOURCE_DIR "/../shared/data";
  if (!std::filesystem::exists(data + "/gsm8k_test.jsonl"))
    GTEST_SKIP() << "no gsm8k_test.jsonl in " << data << " (set ATHANOR_TEST_DATA)";
  TaskRegistry registry;
  register_problem_files(registry, {});
  const auto task = registry.make("jsonl:" + data + "/gsm8k_train.jsonl(format=gsm8k, max_bad=0, held_out=" + data +
                                  "/gsm8k_test.jsonl)");
  EXPECT_EQ(task->num_problems(Split::train), 7473);
  EXPECT_EQ(task->num_problems(Split::held_out), 1319);
  bool found = false;
  for (std::uint64_t i = 0; i < 1319; ++i) {
    const Problem problem = task->problem(1, i, Split::held_out);
    EXPECT_FALSE(problem.answer.empty());
    found = found || (problem.prompt.starts_with("Janet") && problem.answer == "18");
  }
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace athanor
