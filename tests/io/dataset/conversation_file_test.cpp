// Conversations from users' files: the accepted forms, what is kept, and what becomes of bad lines.
#include "io/dataset/conversation_file.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tests/io/dataset/dataset_fixture.hpp"

namespace athanor {
namespace {
using namespace athanor::testing;

constexpr const char* kContractLine =
    R"({"messages": [{"role":"user","content":"Compute 12+7-3."}, {"role":"assistant",)"
    R"("reasoning_content":"First, 12+7=19. Then 19-3=16.","content":"The answer is 16."}],)"
    R"("answer":"16", "language":"en", "task":"arithmetic", "source":"mine", "unknown": [1],)"
    R"("provenance": {"stage":"r1_zero","problem":123}})";

std::string refusal_of(const std::string& line, const ConversationOptions& options = {}) {
  try {
    parse_conversation(nlohmann::json::parse(line), "f: line 1", options);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

class ConversationFile : public ::testing::Test {
 protected:
  ScratchFolder folder_;
};

// The contract between stages: messages with reasoning and everything beside them is kept, and a line that is written
// again is read as the same conversation. Plain and gzip.
TEST_F(ConversationFile, KeepsTheContract) {
  const std::string path = folder_.write("a.jsonl", std::string(kContractLine) + "\n\n" + kContractLine);

  const std::vector<Conversation> read = read_conversations(path);

  ASSERT_EQ(read.size(), 2U);
  const Conversation& first = read[0];
  EXPECT_EQ(first.messages,
            (std::vector<ChatMessage>{{"user", "Compute 12+7-3."},
                                      {"assistant", "The answer is 16.", "First, 12+7=19. Then 19-3=16."}}));
  EXPECT_EQ(first.answer, "16");
  EXPECT_EQ(first.language, "en");
  EXPECT_EQ(first.task, "arithmetic");
  EXPECT_EQ(first.source, "mine");
  EXPECT_EQ(nlohmann::json::parse(first.provenance).at("problem"), 123);
  EXPECT_EQ(read[1].place, path + ": line 3");
  const std::string again = write_gzip(folder_, "b.jsonl.gz", conversation_line(first) + "\n");
  const Conversation second = read_conversations(again).at(0);
  EXPECT_EQ(second.messages, first.messages);
  EXPECT_EQ(conversation_line(second), conversation_line(first));
}

// Prompts with completions, responses or fields of other names are conversations of two turns; lists of messages may
// stand in either; a reasoning inside the completion is found; a number is an answer.
TEST_F(ConversationFile, TakesOtherForms) {
  const auto parsed = [](const std::string& line, const ConversationOptions& options = {}) {
    return parse_conversation(nlohmann::json::parse(line), "f: line 1", options);
  };
  const std::vector<ChatMessage> wanted{{"user", "2+2?"}, {"assistant", "4"}};
  EXPECT_EQ(parsed(R"({"prompt":"2+2?","completion":"4"})").messages, wanted);
  EXPECT_EQ(parsed(R"({"prompt":"2+2?","response":"4","answer":4})").messages, wanted);
  EXPECT_EQ(parsed(R"({"prompt":"2+2?","response":"4","answer":4})").answer, "4");
  ConversationOptions named;
  named.prompt_field = "question";
  named.completion_field = "answer";
  EXPECT_EQ(parsed(R"({"question":"2+2?","answer":4})", named).messages, wanted);
  EXPECT_EQ(parsed(R"({"question":"2+2?","answer":4})", named).answer, "");
  EXPECT_EQ(parsed(R"({"prompt":[{"role":"system","content":"s"},{"role":"user","content":"2+2?"}],)"
                   R"("completion":[{"role":"assistant","content":"<think>\nx\n</think>\n\n4"}]})")
                .messages,
            (std::vector<ChatMessage>{{"system", "s"}, {"user", "2+2?"}, {"assistant", "4", "x"}}));
  EXPECT_EQ(parsed(R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},)"
                   R"({"role":"user","content":"c"},{"role":"assistant","content":"d"}]})")
                .messages.size(),
            4U);
}

// Lines that hold nothing to learn are refused with their place and what is wrong with them.
TEST_F(ConversationFile, NamesWhatIsWrong) {
  for (const auto& [line, message] : std::vector<std::pair<std::string, std::string>>{
           {R"({"text":"a"})", "f: line 1: no field named messages or prompt; there are: text"},
           {R"({"prompt":"a"})", "f: line 1: no field named messages or completion"},
           {R"({"prompt":"a","completion":" "})", "messages[1]: the assistant says nothing"},
           {R"({"prompt":"a","completion":{}})", "completion: wanted a text, found object"},
           {R"({"messages":"a"})", "messages: wanted a list of messages, found string"},
           {R"({"messages":[]})", "the list is empty"},
           {R"({"messages":["a"]})", "messages[0]: wanted {\"role\", \"content\"}, found string"},
           {R"({"messages":[{"role":"user","content":"a"}]})", "ends with the turn of 'user'"},
           {R"({"messages":[{"role":"assistant","content":"a"}]})", "answers before a user has asked"},
           {R"({"messages":[{"role":"tool","content":"a"}]})", "role 'tool' is not one of"},
           {R"({"messages":[{"role":"user","content":"a"},{"role":"system","content":"b"}]})", "has to be the first"},
           {R"({"messages":[{"role":"user","content":"a","reasoning_content":"b"}]})", "only an assistant reasons"}})
    EXPECT_CONTAINS(refusal_of(line), message);
}

// Up to the stated share bad lines are left out, each reported once with file and line; above it the file is an error
// that names the first ones; a refusal of the caller counts as a bad line.
TEST_F(ConversationFile, CountsBadLines) {
  std::string lines;
  for (int i = 0; i < 8; ++i) lines += std::string(kContractLine) + "\n";
  const std::string path = folder_.write("c.jsonl", lines + "{\"prompt\":1\n" + "{\"prompt\":\"a\"}\n");
  std::vector<std::string> reports;
  ConversationOptions options;
  options.max_bad_share = 0.2;
  options.report = [&](const std::string& text) { reports.push_back(text); };

  EXPECT_EQ(read_conversations(path, options).size(), 8U);
  ASSERT_EQ(reports.size(), 2U);
  EXPECT_CONTAINS(reports[0], path + ": line 9: ");
  EXPECT_CONTAINS(reports[1], path + ": line 10: no field named");

  options.max_bad_share = 0.19;
  reports.clear();
  const std::string error = message_of<ConfigError>([&] { read_conversations(path, options); });
  EXPECT_CONTAINS(error, "2 of 10 lines cannot be used, more than the 19 % allowed");
  EXPECT_CONTAINS(error, path + ": line 9: ");
  EXPECT_TRUE(reports.empty());

  options.max_bad_share = 1.0;
  options.refusal = [](const Conversation&) { return "too long"; };
  EXPECT_CONTAINS(message_of<ConfigError>([&] { read_conversations(path, options); }), "none of its 10 lines");
  EXPECT_CONTAINS(message_of<ConfigError>([&] { read_conversations(folder_.write("d.jsonl", "\n")); }),
                  "no conversation in it");
  EXPECT_CONTAINS(message_of<ConfigError>([&] { read_conversations(folder_ / "none.jsonl"); }), "no such file");
}

}  // namespace
}  // namespace athanor
