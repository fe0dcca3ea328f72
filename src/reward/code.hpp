// Rewards on programs: the share of its tests that the program in a completion passes. Source: open-r1 rewards.py,
// code_reward and binary_code_reward.
// Laws:
//  * Programs run in the sandbox (src/sandbox) or not at all: without one these rewards cannot be made.
//  * A program that fails, loops, or writes too much fails that test; a sandbox that fails is no score for that sample.
//  * begin() hands all programs over at once; score() of each then sleeps until its own is done. The same program with
//    the same tests, under whichever of these rewards, is run once while somebody holds what begin() gave.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "src/reward/reward.hpp"
#include "src/sandbox/sandbox.hpp"

namespace athanor {

/// The sandbox of a set of rewards, and what is under way in it. Safe to use from several threads.
class CodeRunner {
 public:
  /// A program that was handed over. Its result is there as long as somebody holds this.
  using Handle = std::shared_ptr<const Sandbox::Pending>;

  /// @throws ConfigError when there is no sandbox.
  CodeRunner() = default;
  Handle begin(Program program);
  /// Sleeps until it is done. @throws Error when the sandbox fails.
  ProgramResult wait(const Handle& handle) const { return sandbox_.wait(*handle); }

 private:
  Sandbox sandbox_;
  std::mutex mutex_;
  std::unordered_map<std::string, std::weak_ptr<const Sandbox::Pending>>
      begun_;  ///< by kind, limits, source and inputs
};

struct CodeOptions {
  std::string language{};  ///< "python" or "cpp"; empty: as the sample says, else python
  SandboxLimits limits{};
  bool binary = false;   ///< 1 when more than 0.99 of the tests pass, else 0
  bool open_r1 = false;  ///< as published: always Python, lines compared as far as both go, one timeout is 0 for all
};

class CodeReward final : public Reward {
 public:
  /// @throws ConfigError when the machine has nothing to run `options.language` with.
  CodeReward(std::shared_ptr<CodeRunner> runner, CodeOptions options);
  std::shared_ptr<void> begin(std::span<const RewardSample> samples) const override;
  /// nullopt without tests; 0 without a block of code. The remark says what was wrong with the first failing test.
  RewardScore evaluate(const RewardSample& sample) const override;
  std::optional<double> score(const RewardSample& sample) const override { return evaluate(sample).value; }
  bool bounds_its_time() const override { return true; }

 private:
  std::optional<Program> program_of(const RewardSample& sample) const;

  std::shared_ptr<CodeRunner> runner_;
  CodeOptions options_;
};

/// Whether what a program wrote is what a test wants: both without white space at the ends, line by line without white
/// space at the ends of lines. @param as_published  only `output` loses its ends, and lines beyond the shorter of both
/// are not looked at (so that surplus or missing ones pass, and nothing has only to match the first line).
bool is_expected_output(std::string_view output, std::string_view expected, bool as_published = false);

}  // namespace athanor
