// The registry and the weighted set: what is left out, what is counted, what is refused.
#include "src/reward/reward_set.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <condition_variable>
#include <mutex>

#include "src/base/error.hpp"
#include "tests/src/reward/samples.hpp"

namespace athanor {
namespace {

/// Scores as the completion says: "nan", "throw", "null", or its length.
class Moody final : public Reward {
 public:
  explicit Moody(bool group) : group_(group) {}
  std::optional<double> score(const RewardSample& sample) const override {
    if (sample.completion == "nan") return std::nan("");
    if (sample.completion == "throw") throw Error("bad mood");
    if (sample.completion == "null") return std::nullopt;
    return static_cast<double>(sample.completion.size());
  }
  bool needs_group() const override { return group_; }

 private:
  bool group_;
};

class One final : public Reward {
 public:
  std::optional<double> score(const RewardSample&) const override { return 1.0; }
};

RewardSet moody_set(bool group) {
  return RewardSet({{"moody", 2.0, std::make_shared<Moody>(group)}, {"one", 0.5, std::make_shared<One>()}});
}

// The total is the weighted sum of what could be scored; one sample's trouble is not another's.
TEST(RewardSet, LeavesOutWhatCannotBeScored) {
  const std::vector<RewardSample> group{completion("abc"), completion("nan"), completion("throw"), completion("null")};
  const auto results = moody_set(false).score_group(group);
  EXPECT_EQ(results[0].total, 6.5);
  for (std::size_t i = 1; i < 4; ++i) EXPECT_EQ(results[i].total, 0.5) << i;
  EXPECT_EQ(results[1].parts[0].fault, RewardFault::not_finite);
  EXPECT_EQ(results[2].parts[0].fault, RewardFault::threw);
  EXPECT_EQ(results[2].parts[0].message, "bad mood");
  EXPECT_EQ(results[3].parts[0].fault, RewardFault::cannot_score);
  RewardTally tally;
  for (const auto& result : results) tally.add(result.parts[0]);
  EXPECT_EQ(tally.scored, 1);
  EXPECT_EQ(tally.not_finite, 1);
  EXPECT_EQ(tally.threw, 1);
  EXPECT_EQ(tally.cannot_score, 1);
  EXPECT_EQ(tally.sum, 3.0);
}

// A group reward that throws loses its group, not the other rewards.
TEST(RewardSet, LosesAGroupThatThrows) {
  const std::vector<RewardSample> group{completion("abc"), completion("throw")};
  for (const auto& result : moody_set(true).score_group(group)) {
    EXPECT_EQ(result.parts[0].fault, RewardFault::threw);
    EXPECT_EQ(result.total, 0.5);
  }
}

/// Does not come back from the completion "hang" before the test lets it.
class Hanging final : public Reward {
 public:
  std::optional<double> score(const RewardSample& sample) const override {
    std::unique_lock lock(mutex_);
    if (sample.completion == "hang") released_.wait(lock, [&] { return free_; });
    return 2.0;
  }
  void release() {
    const std::lock_guard lock(mutex_);
    free_ = true;
    released_.notify_all();
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable released_;
  bool free_ = false;
};

// A reward that hangs loses that sample, by name; the samples behind it and the other rewards are scored.
TEST(RewardSet, GoesOnWithoutWhatHangs) {
  const auto hanging = std::make_shared<Hanging>();
  const RewardSet set({{"hanging", 1.0, hanging}, {"one", 0.5, std::make_shared<One>()}}, 0.05);
  std::vector<RewardSample> group{completion("a"), completion("hang"), completion("hang"), completion("b")};
  for (RewardSample& sample : group) sample.prompt_id = 17;
  const auto results = set.score_group(group);
  EXPECT_EQ(results[0].total, 2.5);
  EXPECT_EQ(results[1].total, 0.5);
  EXPECT_EQ(results[2].total, 0.5);
  EXPECT_EQ(results[3].total, 2.5);
  EXPECT_EQ(results[2].parts[0].fault, RewardFault::timed_out);
  EXPECT_EQ(results[2].parts[0].message,
            "reward hanging gave no score within 0.05 s for completion 3 of 4 of prompt 17");
  RewardTally tally;
  for (const auto& result : results) tally.add(result.parts[0]);
  EXPECT_EQ(tally.scored, 2);
  EXPECT_EQ(tally.timed_out, 2);
  EXPECT_EQ(tally.sum, 4.0);
  hanging->release();
}

// Nothing scored is no total, which is not a total of 0.
TEST(RewardSet, HasNoTotalWithoutScores) {
  const RewardSet set({{"moody", 1.0, std::make_shared<Moody>(false)}});
  EXPECT_EQ(set.score_group(std::vector{completion("null")})[0].total, std::nullopt);
}

// Names, options and weights as users write them.
TEST(RewardSet, ReadsSpecs) {
  RewardRegistry registry;
  register_all_rewards(registry);
  const RewardSet set("format @ 0.5, cosine:max_len=100:compat=open_r1 ,tag_count@-1", registry);
  ASSERT_EQ(set.members().size(), 3U);
  EXPECT_EQ(set.members()[0].weight, 0.5);
  EXPECT_EQ(set.members()[1].name, "cosine");
  EXPECT_EQ(set.members()[2].weight, -1.0);
}

// A mistake in a spec is an error that says what there is.
TEST(RewardSet, RefusesBadSpecs) {
  RewardRegistry registry;
  register_all_rewards(registry);
  const std::vector<std::pair<const char*, const char*>> cases{
      {"cosin", "the nearest is cosine; known are accuracy, binary_code, code, code_format, cosine, countdown"},
      {"cosine:max_length=3", "nearest is max_len"},
      {"cosine:max_len=x", "no whole number"},
      {"cosine:max_len", "write key=value"},
      {"format @ much", "no weight"},
      {"format @ nan", "no weight"},
      {"format,format", "twice"},
      {"format,", "no name"},
      {"", "no name"},
      {"cosine:compat=trl", "not one of none, open_r1"},
      {"soft_overlong_punishment:max_completion_len=10:soft_punish_cache=20", "larger"}};
  for (const auto& [spec, text] : cases) try {
      RewardSet set(spec, registry);
      FAIL() << spec;
    } catch (const ConfigError& error) {
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << spec << ": " << error.what();
    }
}

// Every published name of these rewards is there.
TEST(RewardRegistry, HasThePublishedNames) {
  RewardRegistry registry;
  register_all_rewards(registry);
  for (const char* name :
       {"accuracy", "format", "tag_count", "reasoning_steps", "length", "cosine", "repetition_penalty",
        "soft_overlong_punishment", "language_consistency", "countdown", "code", "binary_code", "code_format"})
    EXPECT_NO_THROW(registry.make(name)) << name;
}

// Megabytes of the worst kind take no time to speak of, and every score is a number.
TEST(RewardRegistry, SurvivesLargeCompletions) {
  RewardRegistry registry;
  register_all_rewards(registry);
  for (const std::string& piece : {std::string("<answer>"), std::string("\n</answer>"), std::string("a "),
                                   std::string("\xFF"), std::string("Step 1"), std::string(">")}) {
    RewardSample sample = completion("<think>\n", "1", "zh");
    while (sample.completion.size() < 1'000'000) sample.completion += piece;
    for (const std::string& name : registry.names()) {
      const auto value = registry.make(name)->score(sample);
      EXPECT_TRUE(!value || std::isfinite(*value)) << name;
    }
  }
}

}  // namespace
}  // namespace athanor
