// Ranks that hold the same completions end with the same scores.
#include "jobs/rl/shared_scores.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"

namespace athanor {
namespace {

/// Two completions and two rewards, as a rank whose clock runs differently would score them.
ScoredGroups scores_of(int rank) {
  ScoredGroups scored;
  scored.texts = {"a", "b"};
  scored.thinks = {true, false};
  scored.right =
      rank == 0 ? std::vector<std::optional<bool>>{true, std::nullopt} : std::vector<std::optional<bool>>{false, true};
  for (int i = 0; i < 2; ++i) {
    RewardResult result;
    if (rank == 0 && i == 0) {
      result.total = 0.75;
      result.parts = {{0.5, RewardFault::none}, {std::nullopt, RewardFault::timed_out}};
    } else {
      if (rank != 0) result.total = 0.1 * rank;
      result.parts = {{std::nullopt, RewardFault::cannot_score}, {1.0 * rank, RewardFault::none}};
    }
    scored.results.push_back(result);
  }
  return scored;
}

// Totals, missing ones, verdicts, parts and faults become those of rank 0; what is no score stays.
TEST(SharedScores, AreThoseOfRank0) {
  HostGroup world = HostGroup::world();
  ScoredGroups scored = scores_of(world.rank());

  share_scores(scored, world);

  EXPECT_EQ(scored.results[0].total, 0.75);
  EXPECT_FALSE(scored.results[1].total);
  EXPECT_EQ(scored.right[0], true);
  EXPECT_FALSE(scored.right[1]);
  EXPECT_EQ(scored.results[0].parts[0].value, 0.5);
  EXPECT_FALSE(scored.results[0].parts[1].value);
  EXPECT_EQ(scored.results[0].parts[1].fault, RewardFault::timed_out);
  EXPECT_FALSE(scored.results[1].parts[0].value);
  EXPECT_EQ(scored.results[1].parts[0].fault, RewardFault::cannot_score);
  EXPECT_EQ(scored.results[1].parts[1].value, 0.0);
  EXPECT_EQ(scored.texts, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(scored.thinks, (std::vector<bool>{true, false}));
}

// No completion at all is no mistake.
TEST(SharedScores, MayBeNone) {
  HostGroup world = HostGroup::world();
  ScoredGroups none;
  EXPECT_NO_THROW(share_scores(none, world));
}

// A rank that holds another number of completions or rewards is told on every rank, not mixed up.
TEST(SharedScores, RefuseOtherCompletions) {
  HostGroup world = HostGroup::world();
  if (world.size() == 1) return;
  ScoredGroups fewer = scores_of(world.rank()), other_rewards = scores_of(world.rank());
  if (world.rank() == world.size() - 1) {
    fewer.results.pop_back();
    fewer.right.pop_back();
    other_rewards.results[1].parts.pop_back();
  }
  EXPECT_THROW(share_scores(fewer, world), CollectiveMismatch);
  EXPECT_THROW(share_scores(other_rewards, world), CollectiveMismatch);
}

}  // namespace
}  // namespace athanor
