// Preferences from files: the forms a line may have, and lines that cannot be used.
#include "io/dataset/preference_file.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "src/base/error.hpp"

namespace athanor {
namespace {

Preference parsed(const std::string& line) { return parse_preference(nlohmann::json::parse(line), "f: line 1"); }

std::string refusal(const std::string& line) {
  try {
    (void)parsed(line);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

class PreferenceFile : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("athanor_preference_" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string write(const std::string& text) {
    const auto file = folder_ / "p.jsonl";
    std::ofstream(file) << text;
    return file.string();
  }
  std::filesystem::path folder_;
};

// Promise: a pair, with texts or with messages, reasonings taken out.
TEST(Preference, Pairs) {
  const Preference pair = parsed(R"({"prompt": "2+2?", "chosen": "<think>\nfour\n</think>\n\n4", "rejected": "5"})");
  EXPECT_EQ(pair.problem.prompt, "2+2?");
  EXPECT_EQ(pair.answers[0].content, "4");
  EXPECT_EQ(pair.answers[0].reasoning, "four");
  EXPECT_EQ(pair.answers[1].content, "5");
  EXPECT_EQ(pair.scores, (std::vector<double>{1.0, 0.0}));
  EXPECT_TRUE(pair.labels.empty());
  const Preference chat = parsed(
      R"({"messages": [{"role":"system","content":"Be kind."},{"role":"user","content":"Hi"}],
          "chosen": [{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello","reasoning_content":"greet"}],
          "rejected": [{"role":"assistant","content":"What?"}]})");
  EXPECT_EQ(chat.problem.messages.size(), 2U);
  EXPECT_EQ(chat.answers[0].content, "Hello");
  EXPECT_EQ(chat.answers[0].reasoning, "greet");
}

// Promise: K answers by scores, or by ranks, of which 1 is best; ties are kept.
TEST(Preference, Ranked) {
  EXPECT_EQ(parsed(R"({"prompt":"p","completions":["a","b","c"],"scores":[0.5,2,2]})").scores,
            (std::vector<double>{0.5, 2, 2}));
  EXPECT_EQ(parsed(R"({"prompt":"p","completions":["a","b","c"],"ranks":[2,1,2]})").scores,
            (std::vector<double>{-2, -1, -2}));
}

// Promise: labels as numbers, truth values or words.
TEST(Preference, Labels) {
  for (const char* good : {"1", "true", "\"safe\"", "\"good\"", "1.0"})
    EXPECT_EQ(parsed(R"({"prompt":"p","completion":"a","label":)" + std::string(good) + "}").labels,
              std::vector<double>{1.0});
  for (const char* bad : {"0", "false", "\"unsafe\"", "\"bad\""})
    EXPECT_EQ(parsed(R"({"prompt":"p","completion":"a","label":)" + std::string(bad) + "}").labels,
              std::vector<double>{0.0});
}

// Promise: every line that cannot be used says why.
TEST(Preference, Refuses) {
  EXPECT_NE(refusal(R"({"chosen":"a","rejected":"b"})").find("prompt"), std::string::npos);
  EXPECT_NE(refusal(R"({"prompt":"p","chosen":"a"})").find("rejected"), std::string::npos);
  EXPECT_NE(refusal(R"({"prompt":"p","chosen":"a","rejected":"a"})").find("same answer"), std::string::npos);
  EXPECT_NE(refusal(R"({"prompt":"p","chosen":"a","rejected":7})").find("wanted a text"), std::string::npos);
  EXPECT_NE(refusal(R"({"prompt":"p","chosen":[{"role":3}],"rejected":"b"})").find("assistant"), std::string::npos);
  EXPECT_NE(refusal(R"({"prompt":"p","completions":["a","b"],"scores":[1]})").find("2 numbers"), std::string::npos);
  EXPECT_NE(refusal(R"({"prompt":"p","completions":["a","b"],"ranks":[1,1]})").find("tied"), std::string::npos);
  EXPECT_NE(refusal(R"({"prompt":"p","completions":["a","b"]})").find("scores"), std::string::npos);
  EXPECT_NE(refusal(R"({"prompt":"p","completion":"a","label":"perhaps"})").find("label"), std::string::npos);
  EXPECT_NE(refusal(R"({"prompt":"p"})").find("wanted chosen"), std::string::npos);
  EXPECT_NE(refusal(R"({"messages":[{"role":"assistant","content":"x"}],"chosen":"a","rejected":"b"})"), "");
}

// Promise: bad lines are left out and told with file and line up to the share, above it the file is refused.
TEST_F(PreferenceFile, BadLines) {
  const std::string good = R"({"prompt":"p","chosen":"a","rejected":"b"})";
  const std::string file = write(good + "\n" + good + "\n{\"prompt\":\n" + good + "\n");
  std::vector<std::string> told;
  const auto list =
      read_preferences(file, {.max_share = 0.25, .report = [&](const std::string& line) { told.push_back(line); }});
  EXPECT_EQ(list.size(), 3U);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_NE(told[0].find("p.jsonl: line 3"), std::string::npos);
  EXPECT_THROW(read_preferences(file, {.max_share = 0.2}), ConfigError);
  EXPECT_THROW(read_preferences(file, {.max_share = 0.3, .refusal = [](const Preference&) { return "too long"; }}),
               ConfigError);
  EXPECT_THROW(read_preferences(write("\n")), ConfigError);
}

}  // namespace
}  // namespace athanor
