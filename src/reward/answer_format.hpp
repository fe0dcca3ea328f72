// Rewards on the outer form of a completion: format, code_format, tag_count, reasoning_steps.
// Source: open-r1 rewards.py; scores are its published ones to the last case (see README.md).
#pragma once

#include "src/reward/reward.hpp"

namespace athanor {

/// tags: what R1-Zero is asked for; r1: R1's chat layout, whose prompt holds the opening tag.
enum class AnswerLayout : std::uint8_t { tags, r1 };

/// tags: 1 when the text begins with the two blocks `<think>`, `</think>`, `<answer>`, `</answer>`, each tag on a line
/// of its own; else 0. Lines after the last tag do no harm; text before the first does.
/// r1: 1 for "{reasoning}\n</think>\n\n{summary}", neither of them blank, with this one tag once and no `<think>`.
class FormatReward final : public Reward {
 public:
  explicit FormatReward(AnswerLayout layout = AnswerLayout::tags) : layout_(layout) {}
  std::optional<double> score(const RewardSample& sample) const override;

 private:
  AnswerLayout layout_;
};

/// As FormatReward, and the answer holds a fenced block of the language (```python, also as the beginning of a longer
/// word, as published).
class CodeFormatReward final : public Reward {
 public:
  /// @param language  empty: as the sample says, else python.
  explicit CodeFormatReward(std::string language) : language_(std::move(language)) {}
  std::optional<double> score(const RewardSample& sample) const override;

 private:
  std::string language_;
};

/// 0.25 for each of the four tags (with its line breaks) that occurs exactly once.
class TagCountReward final : public Reward {
 public:
  std::optional<double> score(const RewardSample& sample) const override;
};

/// A third for each sign of going step by step, at most 1: "Step 1:", a number and dot at the very beginning, a line
/// that begins with "-" or "*" (not the first line), and the words First, Second, Next, Finally with a comma.
class ReasoningStepsReward final : public Reward {
 public:
  std::optional<double> score(const RewardSample& sample) const override;
};

}  // namespace athanor
