// Votes over the completions of one problem: clusters by the check, ties, completions without an answer.
#include "src/reward/answer_vote.hpp"

#include <gtest/gtest.h>

#include <string>

namespace athanor {
namespace {

using Clusters = std::vector<std::optional<std::size_t>>;

/// A check by value: "05" is 5, "x" cannot be read as a reference.
AnswerChecks checks_by_value() {
  AnswerChecks checks;
  checks.add(
      "value",
      [](const RewardSample& sample) -> std::optional<bool> {
        if (sample.answer.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
        const std::string text = sample.completion.substr(sample.completion.rfind('>') + 1);
        if (text.find_first_not_of("0123456789") != std::string::npos || text.empty()) return false;
        return std::stoll(text) == std::stoll(sample.answer);
      },
      [](const RewardSample& a, const RewardSample& b) {
        const auto number = [](const RewardSample& sample) {
          return std::stoll(sample.completion.substr(sample.completion.rfind('>') + 1));
        };
        return number(a) == number(b);
      });
  return checks;
}

AnswerVote vote(const std::vector<std::string>& completions, const AnswerChecks& checks,
                const std::string& check = "") {
  std::vector<RewardSample> group;
  std::vector<std::optional<bool>> right;
  for (const std::string& completion : completions) {
    RewardSample sample;
    sample.completion = completion;
    sample.answer = "7";
    sample.reward_name = check;
    right.push_back(checks.is_right(sample));
    group.push_back(std::move(sample));
  }
  return vote_on_answers(group, right, checks);
}

// Answers the check holds for equal are one cluster, whatever their text; the largest cluster wins.
TEST(AnswerVote, ClustersByTheCheck) {
  const AnswerVote wrong = vote({">5", ">7", ">05", ">007", ">005", ">x", ">x"}, checks_by_value());
  EXPECT_EQ(wrong.clusters, (Clusters{0, 1, 0, 1, 0, 2, 2}));
  EXPECT_EQ(wrong.winner, 0U);
  EXPECT_FALSE(wrong.is_right);
  EXPECT_TRUE(vote({">5", ">7", ">07", ">6"}, checks_by_value()).is_right);
}

// Where the check compares texts, texts are what is clustered.
TEST(AnswerVote, ClustersByTextWhereTheCheckDoes) {
  EXPECT_EQ(vote({">05", ">5", ">7", ">+7", ">14/2"}, all_answer_checks()).clusters, (Clusters{0, 0, 1, 1, 1}));
  const AnswerVote texts = vote({">05", ">5", ">7", ">+7"}, all_answer_checks(), "exact");
  EXPECT_EQ(texts.clusters, (Clusters{0, 1, 2, 2}));
  EXPECT_TRUE(texts.is_right);
}

// What gives no answer does not vote, even if it is most of the group; nobody's vote is no right answer.
TEST(AnswerVote, WhoDoesNotAnswerDoesNotVote) {
  const AnswerVote some = vote({"I think", "7", ">", ">7"}, checks_by_value());
  EXPECT_EQ(some.clusters[0], std::nullopt);
  EXPECT_EQ(some.clusters[2], std::nullopt);
  EXPECT_TRUE(some.is_right);
  const AnswerVote none = vote({"I think", ">"}, checks_by_value());
  EXPECT_EQ(none.winner, std::nullopt);
  EXPECT_FALSE(none.is_right);
}

// Of two clusters of one size the first seen wins.
TEST(AnswerVote, TiesGoToTheFirstSeen) {
  EXPECT_TRUE(vote({">7", ">5", ">5", ">7"}, checks_by_value()).is_right);
  EXPECT_FALSE(vote({">5", ">7", ">5", ">7"}, checks_by_value()).is_right);
}

// A check that throws on what a model wrote takes nobody's vote.
TEST(AnswerVote, SurvivesAFailingCheck) {
  AnswerChecks checks;
  checks.add("fails", [](const RewardSample& sample) -> std::optional<bool> {
    if (sample.answer != "7") throw std::runtime_error("no");
    return sample.completion == ">7";
  });
  const AnswerVote result = vote({">1", ">2", ">2", ">7"}, checks);
  EXPECT_EQ(result.clusters, (Clusters{0, 1, 1, 2}));
}

}  // namespace
}  // namespace athanor
