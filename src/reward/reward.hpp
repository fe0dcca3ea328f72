// What a reward is. Laws:
//  * Pure: the score depends on the sample alone (for group rewards: on the samples of one prompt), so it is the same
//  on
//    every rank and after every restart. Safe to call from several threads.
//  * nullopt = cannot score (no readable reference, no token count): the reward is left out of that sample's total and
//    counted, which is not the same as 0 = wrong. Never NaN.
//  * Any bytes are a completion: half characters, megabytes, nothing. A reward reads them in time linear in their
//  number.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace athanor {

/// One test of a program: what it is given on standard input and what it has to write.
struct TestCase {
  std::string input, output;
};

/// A completion and everything rewards may ask about it.
struct RewardSample {
  std::string prompt;
  std::string completion;
  std::string answer;       ///< the reference; empty: there is none
  std::string reward_name;  ///< which check decides `accuracy` (see AnswerChecks); empty: the default one
  std::string language;     ///< of prompt and answer ("en", "zh", ...); empty: none in particular
  std::vector<TestCase> tests{};
  std::string code_language{};          ///< of the program asked for ("python", "cpp"); empty: none in particular
  std::int64_t prompt_id = 0;           ///< completions with the same id are siblings
  std::int64_t completion_tokens = -1;  ///< -1: not known
  /// The prompt holds the opening `<think>` (R1's layout): all of the completion before `</think>` is reasoning, and
  /// without one there is no answer yet.
  bool begins_in_thinking = false;
};

/// A score and, where there is something to say, why it is what it is.
struct RewardScore {
  std::optional<double> value{};
  std::string remark{};
};

class Reward {
 public:
  virtual ~Reward() = default;
  /// These samples are the next to be scored: a reward whose work goes on elsewhere (another process) begins it here,
  /// for all at once. @returns keeps what was begun; nullptr: there is nothing to begin.
  virtual std::shared_ptr<void> begin(std::span<const RewardSample>) const { return nullptr; }
  /// @returns a finite number, or nullopt when this sample cannot be scored. May throw; RewardSet catches.
  virtual std::optional<double> score(const RewardSample& sample) const = 0;
  /// What RewardSet asks: the score, with a remark for people.
  virtual RewardScore evaluate(const RewardSample& sample) const { return {score(sample), {}}; }
  /// True when a call comes back in bounded time by its own care, however long that is; else RewardSet's limit holds.
  virtual bool bounds_its_time() const { return false; }
  /// True when a sample's score depends on its siblings, so that the whole group has to be given at once.
  virtual bool needs_group() const { return false; }
  /// @param group  all completions of one prompt. @returns a score each, in order.
  virtual std::vector<std::optional<double>> score_group(std::span<const RewardSample> group) const {
    std::vector<std::optional<double>> scores;
    scores.reserve(group.size());
    for (const RewardSample& sample : group) scores.push_back(score(sample));
    return scores;
  }
};

}  // namespace athanor
