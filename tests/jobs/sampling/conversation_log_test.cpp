// What rejection sampling keeps on disk: decided in order, durable by the round, the same bytes after any restart.
#include "jobs/sampling/conversation_log.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "src/base/error.hpp"
#include "tests/support/scratch_folder.hpp"

namespace athanor {
namespace {

using nlohmann::ordered_json;
using testing::lines_of;
using testing::ScratchFolder;
using testing::text_of;

const ordered_json kSettings{{"sampling.samples", 4}, {"run.seed", 1}};

std::string line(const std::string& question, const std::string& reasoning) {
  return ordered_json{{"messages",
                       {{{"role", "user"}, {"content", question}},
                        {{"role", "assistant"}, {"reasoning_content", reasoning}, {"content", "ok"}}}},
                      {"language", "en"},
                      {"task", "test"},
                      {"completion_tokens", 10}}
      .dump();
}

JudgedCompletion good(std::int64_t problem, std::int64_t sibling, const std::string& reasoning) {
  return {problem, sibling, 10, true, std::nullopt, line(fmt::format("question {}", problem), reasoning)};
}
JudgedCompletion bad(std::int64_t problem, std::int64_t sibling, Rejection reason) {
  return {problem, sibling, 10, reason > Rejection::wrong, reason, ""};
}

SamplingRound round_of(std::vector<JudgedCompletion> completions, std::int64_t problems = 2) {
  SamplingRound round;
  round.completions = std::move(completions);
  round.problems = problems;
  return round;
}

SamplingRound first_round() {
  return round_of({good(0, 0, "a"), good(0, 1, "a"), good(0, 2, "b"), good(0, 3, "c"), bad(1, 0, Rejection::wrong),
                   bad(1, 1, Rejection::repetitive)});
}
SamplingRound second_round() { return round_of({good(2, 0, "a"), good(2, 1, "d"), good(3, 0, "e")}); }

/// Decided and durable.
SamplingCounts keep(ConversationLog&& log, SamplingRound round) {
  SamplingCounts added = log.add(std::move(round));
  log.commit();
  return added;
}
SamplingCounts keep(ConversationLog& log, SamplingRound round) { return keep(std::move(log), std::move(round)); }

/// What is mixed in.
struct Mix {
  explicit Mix(std::vector<std::string> mix) : options(options_with(std::move(mix))) {}
  static JobOptions options_with(std::vector<std::string> mix) {
    JobOptions options;
    options.sampling.mix = std::move(mix);
    return options;
  }
  JobOptions options;
  std::unique_ptr<Tokenizer> tokenizer = load_tokenizer("byte");
  Decontamination decontamination{options, *tokenizer, false};
  MixedConversations conversations{options, decontamination, false};
};

void finish(ConversationLog&& log, std::vector<std::string> mix, const ordered_json& about) {
  Mix mixed(std::move(mix));
  log.finish(mixed.conversations, about);
}
void finish(ConversationLog& log, std::vector<std::string> mix, const ordered_json& about) {
  finish(std::move(log), std::move(mix), about);
}

std::string finished_files(const ScratchFolder& folder) {
  return text_of(folder.path() / "conversations.jsonl") + text_of(folder.path() / "rejected.json");
}

// The second "a" is a duplicate, "c" is above the cap of two; both are counted, and so is everything else.
TEST(ConversationLog, DecidesInOrder) {
  const ScratchFolder folder;
  ConversationLog log(folder.path(), kSettings, 2);

  const SamplingCounts added = keep(log, first_round());

  EXPECT_EQ(added.completions, 6);
  EXPECT_EQ(added.right, 5);
  EXPECT_EQ(added.kept, 2);
  EXPECT_EQ(added.solved, 1);
  const auto rejected = [&](Rejection reason) { return added.rejected[static_cast<std::size_t>(reason)]; };
  EXPECT_EQ(rejected(Rejection::duplicate), 1);
  EXPECT_EQ(rejected(Rejection::over_cap), 1);
  EXPECT_EQ(rejected(Rejection::wrong), 1);
  EXPECT_EQ(rejected(Rejection::repetitive), 1);
  EXPECT_DOUBLE_EQ(added.acceptance_rate(), 1.0 / 3.0);
}

// The same prompt drawn again is the same problem: its cap and its duplicates hold across rounds and restarts.
TEST(ConversationLog, RemembersAcrossRounds) {
  const ScratchFolder folder;
  (void)keep(ConversationLog(folder.path(), kSettings, 2), first_round());
  ConversationLog log(folder.path(), kSettings, 2);
  SamplingRound again = round_of({good(0, 0, "a"), good(0, 1, "d")});

  const SamplingCounts added = keep(log, std::move(again));

  EXPECT_EQ(added.kept, 0);
  EXPECT_EQ(added.rejected[static_cast<std::size_t>(Rejection::duplicate)], 1);
  EXPECT_EQ(added.rejected[static_cast<std::size_t>(Rejection::over_cap)], 1);
  EXPECT_EQ(log.counts().problems, 4);
}

// Killed while it wrote a round: what lies behind the last durable length is cut off, and the end is the same.
TEST(ConversationLog, GoesOnAfterATornWrite) {
  const std::vector<std::string> mix{"generated:greetings @ 0.4"};
  const ScratchFolder straight, torn;
  {
    ConversationLog log(straight.path(), kSettings, 2);
    (void)keep(log, first_round());
    (void)keep(log, second_round());
    finish(log, mix, {{"stage", "cold"}});
  }
  (void)keep(ConversationLog(torn.path(), kSettings, 2), first_round());
  std::ofstream(torn.path() / "kept.jsonl", std::ios::app) << line("question 2", "a") << "\n"
                                                           << R"({"messa)";
  {
    ConversationLog log(torn.path(), kSettings, 2);
    EXPECT_EQ(log.counts().problems, 2);
    (void)keep(log, second_round());
  }
  ConversationLog log(torn.path(), kSettings, 2);
  EXPECT_EQ(log.counts().problems, 4);
  finish(log, mix, {{"stage", "cold"}});

  EXPECT_EQ(finished_files(torn), finished_files(straight));
  EXPECT_NE(finished_files(torn).find("generated:greetings"), std::string::npos);
  EXPECT_TRUE(ConversationLog(torn.path(), kSettings, 2).finished());
  EXPECT_FALSE(std::filesystem::exists(torn.path() / "kept.jsonl"));
}

// Killed between deciding on a round and writing it: it is as if the round had never been.
TEST(ConversationLog, ForgetsWhatWasNotCommitted) {
  const ScratchFolder folder;
  {
    ConversationLog log(folder.path(), kSettings, 2);
    (void)keep(log, first_round());
    (void)log.add(second_round());
  }
  ConversationLog log(folder.path(), kSettings, 2);
  EXPECT_EQ(log.counts().problems, 2);
  EXPECT_EQ(keep(log, second_round()).kept, 3);
}

// Killed before it was noted that all is written: written again, the same.
TEST(ConversationLog, FinishesTwice) {
  const ScratchFolder folder, before;
  ConversationLog log(folder.path(), kSettings, 0);
  (void)keep(log, first_round());
  const auto copy = [](const ScratchFolder& from, const ScratchFolder& to) {
    for (const char* file : {"kept.jsonl", "progress.json"})
      std::filesystem::copy_file(from.path() / file, to.path() / file,
                                 std::filesystem::copy_options::overwrite_existing);
  };
  copy(folder, before);
  finish(log, {}, {});
  const std::string wanted = finished_files(folder);
  copy(before, folder);

  finish(ConversationLog(folder.path(), kSettings, 0), {}, {});

  EXPECT_EQ(finished_files(folder), wanted);
}

// Mixed conversations are spread evenly, all of them, and counted.
TEST(ConversationLog, SpreadsWhatIsMixedIn) {
  const ScratchFolder folder;
  ConversationLog log(folder.path(), kSettings, 0);
  std::vector<JudgedCompletion> all;
  for (int i = 0; i < 60; ++i) all.push_back(good(i, 0, "a"));
  (void)keep(log, round_of(all, 60));
  finish(log, {"generated:greetings @ 0.25"}, {});

  const auto lines = lines_of(folder.path() / "conversations.jsonl");
  ASSERT_EQ(lines.size(), 80u);
  for (std::size_t i = 0; i < lines.size(); ++i)
    EXPECT_EQ(lines[i].find("greetings") != std::string::npos, i % 4 == 3) << i;
  const auto report = nlohmann::json::parse(text_of(folder.path() / "rejected.json"));
  EXPECT_EQ(report["mix"][0]["used"], 20);
  EXPECT_EQ(report["kept_by_task"]["test"]["samples"], 60);
  EXPECT_EQ(report["rejected"].size(), kRejectionNames.size());
}

// Another question asked of the same folder is refused, and what differs is named.
TEST(ConversationLog, RefusesOtherSettings) {
  const ScratchFolder folder;
  (void)keep(ConversationLog(folder.path(), kSettings, 2), first_round());
  ordered_json other = kSettings;
  other["sampling.samples"] = 8;
  try {
    ConversationLog log(folder.path(), other, 2);
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("sampling.samples: 4 -> 8"), std::string::npos) << error.what();
  }
}

// Conversations that were written and are gone are no reason to sample on as if they were there.
TEST(ConversationLog, MissesLostConversations) {
  const ScratchFolder folder;
  (void)keep(ConversationLog(folder.path(), kSettings, 2), first_round());
  std::filesystem::resize_file(folder.path() / "kept.jsonl", 3);
  EXPECT_THROW(ConversationLog(folder.path(), kSettings, 2), DataError);
}

}  // namespace
}  // namespace athanor
