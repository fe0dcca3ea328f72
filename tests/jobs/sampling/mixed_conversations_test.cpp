// Conversations from elsewhere: which lines count, how many are taken, and benchmarks kept out.
#include "jobs/sampling/mixed_conversations.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "io/dataset/conversation_file.hpp"
#include "src/base/error.hpp"
#include "tests/support/scratch_folder.hpp"

namespace athanor {
namespace {

using testing::ScratchFolder;

std::string conversation(const std::string& user, const std::string& assistant) {
  return nlohmann::json{
             {"messages", {{{"role", "user"}, {"content", user}}, {{"role", "assistant"}, {"content", assistant}}}}}
             .dump() +
         "\n";
}

std::string many(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += conversation(fmt::format("hello {}", i), "hi");
  return text;
}

struct Mixture {
  explicit Mixture(std::vector<std::string> mix, const std::string& decontaminate = "") {
    options.sampling.mix = std::move(mix);
    options.sampling.decontaminate = decontaminate;
  }
  MixedConversations& made() {
    decontamination.emplace(options, *tokenizer, false);
    return mixed.emplace(options, *decontamination, false);
  }
  JobOptions options;
  std::unique_ptr<Tokenizer> tokenizer = load_tokenizer("byte");
  std::optional<Decontamination> decontamination;
  std::optional<MixedConversations> mixed;
};

// 0.25 of the whole is a third of what is sampled (600k : 200k); two sources share what is left by their shares.
TEST(MixedConversations, TakesTheShareOfTheWhole) {
  const ScratchFolder folder;
  const std::string file = folder.write("a.jsonl", many(300));
  Mixture one({file + " @ 0.25"}), two({file + " @ 0.25", "generated:greetings @ 0.25"});
  MixedConversations& single = one.made();
  MixedConversations& both = two.made();

  single.choose(600);
  both.choose(100);

  EXPECT_EQ(single.sources()[0].used, 200);
  EXPECT_EQ(both.sources()[0].used, 50);
  EXPECT_EQ(both.sources()[1].used, 50);
}

// Every chosen line comes once, in the file's order, with its place; the same choice every time.
TEST(MixedConversations, TakesEachLineOnce) {
  const ScratchFolder folder;
  Mixture a({folder.write("a.jsonl", many(40)) + " @ 0.5"});
  MixedConversations& mixed = a.made();
  mixed.choose(10);
  std::vector<std::string> first, second;
  for (int i = 0; i < 10; ++i) first.push_back(mixed.next(0));
  mixed.choose(10);
  for (int i = 0; i < 10; ++i) second.push_back(mixed.next(0));

  EXPECT_EQ(first, second);
  std::vector<int> lines;
  for (const std::string& line : first) lines.push_back(nlohmann::json::parse(line)["provenance"]["line"]);
  EXPECT_TRUE(std::is_sorted(lines.begin(), lines.end()));
  EXPECT_EQ(std::set<int>(lines.begin(), lines.end()).size(), 10u);
  EXPECT_GT(lines.back(), 10) << "the beginning of the file alone is no sample of it";
}

// Too few are used once each; the shortage is in the counts.
TEST(MixedConversations, UsesWhatThereIs) {
  const ScratchFolder folder;
  Mixture a({folder.write("a.jsonl", many(7)) + " @ 0.5"});
  MixedConversations& mixed = a.made();
  mixed.choose(20);
  EXPECT_EQ(mixed.sources()[0].wanted, 20);
  EXPECT_EQ(mixed.sources()[0].used, 7);
  for (int i = 0; i < 7; ++i) mixed.next(0);
  EXPECT_THROW(mixed.next(0), Error);
}

// Bad lines are left out up to one in a hundred; above that the place of each is told.
TEST(MixedConversations, CountsBadLines) {
  const ScratchFolder folder;
  const std::string bad = R"({"messages": [{"role": "user", "content": "and?"}]})"
                          "\n";
  Mixture few({folder.write("few.jsonl", many(60) + bad + many(60)) + " @ 0.5"});
  MixedConversations& mixed = few.made();
  EXPECT_EQ(mixed.sources()[0].bad, 1);
  EXPECT_EQ(mixed.sources()[0].usable, 120);
  mixed.choose(120);
  for (int i = 0; i < 120; ++i) EXPECT_EQ(mixed.next(0).find("and?"), std::string::npos);

  Mixture many_bad({folder.write("bad.jsonl", many(60) + bad + "nonsense\n") + " @ 0.5"});
  try {
    many_bad.made();
    FAIL();
  } catch (const ConfigError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("bad.jsonl: line 61: the conversation ends with"), std::string::npos) << message;
    EXPECT_NE(message.find("bad.jsonl: line 62"), std::string::npos) << message;
  }
}

// What is in a benchmark is in no mixture: its questions, and its solutions in answers.
TEST(MixedConversations, LeavesBenchmarksOut) {
  const ScratchFolder folder;
  const std::string question = "A farmer has twelve cows and buys seven more of them on Monday. How many?";
  const std::string solution = "He has twelve and seven cows which makes nineteen cows in all of his fields.";
  const std::string bench = folder.write(
      "bench.jsonl", nlohmann::json{{"question", question}, {"answer", solution + " #### 19"}}.dump() + "\n");
  const std::string text = many(3) + conversation("Tell me: " + question, "19") + conversation("Cows?", solution);
  Mixture a({folder.write("a.jsonl", text) + " @ 0.5"}, "jsonl:" + bench + "(format=gsm8k)");

  MixedConversations& mixed = a.made();

  EXPECT_EQ(mixed.sources()[0].contaminated, 2);
  EXPECT_EQ(mixed.sources()[0].usable, 3);
}

// Shares that cannot be, and kinds that are not there.
TEST(MixedConversations, RefusesBadShares) {
  for (const std::vector<std::string>& mix : {std::vector<std::string>{"generated:greetings"},
                                              {"generated:greetings @ 1.5"},
                                              {"generated:greeting @ 0.1"},
                                              {"generated:greetings @ 0.5", "generated:requests @ 0.5"},
                                              {"generated:greetings(language=fr) @ 0.1"},
                                              {"/nowhere.jsonl @ 0.1"}})
    EXPECT_THROW(Mixture(mix).made(), ConfigError) << mix.front();
}

// Generated conversations are functions of their number, of both languages in turn, and conversations of the house.
TEST(GeneratedConversations, AreConversations) {
  for (const char* kind : {"generated:greetings", "generated:requests"}) {
    const GeneratedConversations both(kind), chinese(std::string(kind) + "(language=zh)");
    std::set<std::string> different;
    for (std::int64_t i = 0; i < 200; ++i) {
      const nlohmann::ordered_json made = both.conversation(1, i);
      EXPECT_NO_THROW(parse_conversation(nlohmann::json(made), "here"));
      EXPECT_EQ(made, both.conversation(1, i));
      EXPECT_EQ(made["language"], i % 2 == 0 ? "en" : "zh");
      EXPECT_EQ(chinese.conversation(1, i)["language"], "zh");
      EXPECT_FALSE(made["messages"][1].contains("reasoning_content"));
      different.insert(made["messages"].dump());
    }
    EXPECT_GT(different.size(), 15u) << kind;
  }
}

}  // namespace
}  // namespace athanor
