// accuracy, cosine, length, soft_overlong_punishment: published scores, with a check that knows no mathematics.
#include "src/reward/accuracy.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"
#include "tests/src/reward/samples.hpp"

namespace athanor {
namespace {

/// A right ('r...') or wrong text of so many characters.
RewardSample text_of(char first, std::size_t length, const char* answer = "1") {
  return completion(std::string(1, first) + std::string(length - 1, '.'), answer);
}

// Right 1, wrong 0, and a reference that cannot be read is no verdict.
TEST(Accuracy, SaysWhatTheCheckSays) {
  EXPECT_EQ(score("accuracy", completion("right", "1")), 1.0);
  EXPECT_EQ(score("accuracy", completion("wrong", "1")), 0.0);
  EXPECT_EQ(score("accuracy", completion("right", "?")), std::nullopt);
}

// A sample chooses its check by name; a name nobody knows is an error that lists the known.
TEST(Accuracy, AsksTheCheckOfTheSample) {
  const auto accuracy = make_reward("accuracy", all_answer_checks());
  RewardSample sample = completion("<answer>3*(2+4)</answer>", "18 from 2 3 4");
  EXPECT_EQ(accuracy->score(sample), std::nullopt);  // no mathematical answer
  sample.reward_name = "exact";
  EXPECT_EQ(accuracy->score(sample), 0.0);
  sample.reward_name = "countdown";
  EXPECT_EQ(accuracy->score(sample), 1.0);
  sample.reward_name = "countdwn";
  try {
    accuracy->score(sample);
    FAIL() << "took an unknown check";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("nearest is countdown"), std::string::npos) << error.what();
  }
}

// The exact check compares text: blanks, case, one '+' and one full stop do not matter, digits do.
TEST(ExactAnswer, ComparesText) {
  const auto right = [](const std::string& answer, const std::string& given) {
    return is_exact_answer(completion("<answer>" + given + "</answer>", answer));
  };
  EXPECT_EQ(right("Paris", " paris.\n"), true);
  EXPECT_EQ(right("12", "+12"), true);
  EXPECT_EQ(right("真", "真。"), true);
  EXPECT_EQ(right("5", "05"), false);
  EXPECT_EQ(right("5", "5 or 6"), false);
  EXPECT_EQ(right("5", ""), false);
  EXPECT_EQ(right("", "5"), std::nullopt);
}

// Values of open-r1's own tests, with (-1, -0.5, 0.5, 1) and max_len 100.
TEST(Cosine, MatchesPublishedValues) {
  const char* spec = "cosine:max_len=100";
  EXPECT_NEAR(*score(spec, text_of('r', 22)), 0.943, 0.005);
  EXPECT_NEAR(*score(spec, text_of('r', 80)), 0.547, 0.001);
  EXPECT_NEAR(*score(spec, text_of('w', 22)), -0.942, 0.005);
  EXPECT_NEAR(*score(spec, text_of('w', 80)), -0.547, 0.001);
  EXPECT_EQ(score(spec, completion("anything", "?")), 1.0);
  // The command line of open-r1 turns the wrong ones round.
  const char* turned = "cosine:max_len=100:min_value_wrong=0:max_value_wrong=-0.5";
  EXPECT_NEAR(*score(turned, completion("")), 0.0, 1e-12);
  EXPECT_NEAR(*score(turned, text_of('w', 100)), -0.5, 1e-12);
}

// Beyond max_len the score stays; with compat=open_r1 the cosine climbs again, as published.
TEST(Cosine, IsClampedUnlessAskedOtherwise) {
  EXPECT_NEAR(*score("cosine:max_len=100", text_of('r', 200)), 0.5, 1e-12);
  EXPECT_NEAR(*score("cosine:max_len=100:compat=open_r1", text_of('r', 200)), 1.0, 1e-12);
}

std::vector<double> lengths_scored(const std::vector<RewardSample>& group) {
  std::vector<double> values;
  for (const auto& value : make_reward("length")->score_group(group)) values.push_back(value.value());
  return values;
}

// The Kimi report's values, and those of open-r1's tests.
TEST(Length, MatchesPublishedValues) {
  using V = std::vector<double>;
  EXPECT_EQ(lengths_scored({text_of('r', 100), text_of('r', 200), text_of('r', 300), text_of('w', 100)}),
            (V{0.5, 0.0, -0.5, 0.0}));
  EXPECT_EQ(lengths_scored({text_of('w', 100), text_of('w', 200), text_of('w', 300)}), (V{0.0, 0.0, -0.5}));
  EXPECT_EQ(lengths_scored({text_of('r', 50), text_of('w', 50)}), (V{0.0, 0.0}));
  EXPECT_EQ(lengths_scored({text_of('w', 10, "?"), text_of('w', 40, "?")}), (V{0.5, -0.5}));
  EXPECT_TRUE(lengths_scored({}).empty());
  EXPECT_EQ(score("length", text_of('r', 10)), 0.0);
}

// Lengths are characters, not bytes; half characters count as one.
TEST(Length, CountsCharacters) {
  EXPECT_EQ(
      lengths_scored({completion("r\u4f60\u597d", "1"), completion("rab", "1"), completion("r\xE4\xBD\xFF", "1")}),
      (std::vector<double>{0.0, 0.0, 0.0}));
}

// DAPO's values, to the token.
TEST(SoftOverlong, FallsAcrossTheMargin) {
  const auto at = [](std::string_view spec, std::int64_t tokens) {
    RewardSample sample;
    sample.completion_tokens = tokens;
    return score(spec, sample);
  };
  const std::string_view small = "soft_overlong_punishment:max_completion_len=100:soft_punish_cache=20";
  const std::vector<std::pair<std::int64_t, double>> wanted{{50, 0},   {80, 0},   {81, -0.05}, {90, -0.5},
                                                            {100, -1}, {101, -1}, {110, -1}};
  for (const auto& [tokens, value] : wanted) EXPECT_DOUBLE_EQ(*at(small, tokens), value) << tokens;
  EXPECT_DOUBLE_EQ(*at("soft_overlong_punishment", 12288), 0.0);
  EXPECT_DOUBLE_EQ(*at("soft_overlong_punishment", 14336), -0.5);
  const std::string_view dapo = "soft_overlong_punishment:max_completion_len=20480:soft_punish_cache=4096";
  for (const auto& [tokens, value] : std::vector<std::pair<std::int64_t, double>>{
           {16384, 0}, {17408, -0.25}, {18432, -0.5}, {20480, -1}, {20481, -1}})
    EXPECT_DOUBLE_EQ(*at(dapo, tokens), value) << tokens;
  EXPECT_EQ(at(small, -1), std::nullopt);
}

}  // namespace
}  // namespace athanor
