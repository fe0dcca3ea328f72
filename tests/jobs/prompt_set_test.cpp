// The kinds of prompts of an rl stage: how they are written, and how many of each a rollout has.
#include "jobs/rl/prompt_set.hpp"

#include <gtest/gtest.h>

#include <numeric>

#include "src/base/error.hpp"

namespace athanor {
namespace {

// Without rl.prompts there is one kind: rl.tasks with rl.rewards.
TEST(PromptSets, OneKindByDefault) {
  RlOptions options;
  options.tasks = "countdown";
  options.rewards = "accuracy, format @ 0.5";
  const auto sets = prompt_sets(options);
  ASSERT_EQ(sets.size(), 1U);
  EXPECT_EQ(sets[0].tasks, "countdown");
  EXPECT_EQ(sets[0].rewards, "accuracy, format @ 0.5");
  EXPECT_EQ(sets[0].from, 0.0);
}

// A line holds tasks, rewards, weight and beginning; whatever else it holds is an error that quotes it.
TEST(PromptSets, LinesAreRead) {
  RlOptions options;
  options.prompts = {"arithmetic:level=3 @ 2, digits -> accuracy, format @ 0.5",
                     "jsonl:chat.jsonl -> learned:stage=helpful | weight 0.5 | from 0.75"};
  const auto sets = prompt_sets(options);
  ASSERT_EQ(sets.size(), 2U);
  EXPECT_EQ(sets[0].tasks, "arithmetic:level=3 @ 2, digits");
  EXPECT_EQ(sets[1].rewards, "learned:stage=helpful");
  EXPECT_EQ(sets[1].weight, 0.5);
  EXPECT_EQ(sets[1].from, 0.75);
  for (const char* line : {"arithmetic", "a -> b | weight", "a -> b | weight -1", "a -> b | wieght 2", " -> b", "a -> ",
                           "a -> b | from 1", "a -> b | weight 0", "a | x -> b"}) {
    options.prompts = {"x -> y", line};
    EXPECT_THROW(prompt_sets(options), ConfigError) << line;
  }
  options.prompts = {"a -> b | from 0.5"};
  EXPECT_THROW(prompt_sets(options), ConfigError) << "nothing at the first step";
}

// Prompts are shared by weight among the kinds that have begun, all of them and in whole granules.
TEST(PromptSets, SharesByWeight) {
  const std::vector<PromptSetSpec> sets{{"a", "r", 3.0, 0.0}, {"b", "r", 1.0, 0.5}, {"c", "r", 0.01, 0.5}};
  EXPECT_EQ(share_prompts(sets, 32, 2, 0.0), (std::vector<std::int64_t>{32, 0, 0}));
  const auto late = share_prompts(sets, 32, 2, 0.5);
  EXPECT_EQ(std::accumulate(late.begin(), late.end(), std::int64_t{0}), 32);
  EXPECT_GE(late[2], 2);
  EXPECT_GT(late[0], late[1]);
  for (const std::int64_t count : late) EXPECT_EQ(count % 2, 0);
}

}  // namespace
}  // namespace athanor
