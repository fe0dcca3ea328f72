// Rewards that ask whether the answer is right: accuracy, and the two that weigh it against the length, cosine and
// length. Lengths are characters of the completion, as published.
#pragma once

#include <memory>

#include "src/reward/answer_check.hpp"
#include "src/reward/reward.hpp"

namespace athanor {

/// 1 right, 0 wrong, nullopt when the reference cannot be read.
class AccuracyReward final : public Reward {
 public:
  explicit AccuracyReward(std::shared_ptr<const AnswerChecks> checks) : checks_(std::move(checks)) {}
  std::optional<double> score(const RewardSample& sample) const override;

 private:
  std::shared_ptr<const AnswerChecks> checks_;
};

/// With progress = characters / max_length: a right answer gets max_value_correct at 0, falling along a half cosine to
/// min_value_correct at 1; a wrong one gets min_value_wrong at 0, rising to max_value_wrong at 1 (short and wrong is
/// worst). An unreadable reference gives 1. Beyond max_length the score stays (`unclamped`: the cosine goes on, as
/// open-r1 publishes it). Source: Yeo et al. 2025 (arXiv 2502.03373); open-r1 rewards.py.
struct CosineOptions {
  double min_value_wrong = -1.0, max_value_wrong = -0.5, min_value_correct = 0.5, max_value_correct = 1.0;
  std::int64_t max_length = 1000;
  bool unclamped = false;
};
class CosineReward final : public Reward {
 public:
  CosineReward(std::shared_ptr<const AnswerChecks> checks, const CosineOptions& options)
      : checks_(std::move(checks)), options_(options) {}
  std::optional<double> score(const RewardSample& sample) const override;

 private:
  std::shared_ptr<const AnswerChecks> checks_;
  const CosineOptions options_;
};

/// Kimi k1.5's length reward among the completions of one prompt: lambda = 0.5 - (length - shortest) / (longest -
/// shortest); right: lambda; wrong: min(0, lambda); all of one length: 0. An unreadable reference counts as right.
/// Source: Kimi k1.5 report (arXiv 2501.12599), section 2.3.3; open-r1 rewards.py.
class LengthReward final : public Reward {
 public:
  explicit LengthReward(std::shared_ptr<const AnswerChecks> checks) : checks_(std::move(checks)) {}
  std::optional<double> score(const RewardSample& sample) const override { return score_group({&sample, 1})[0]; }
  bool needs_group() const override { return true; }
  std::vector<std::optional<double>> score_group(std::span<const RewardSample> group) const override;

 private:
  std::shared_ptr<const AnswerChecks> checks_;
};

/// DAPO's soft punishment: 0 up to max_tokens - margin tokens, falling in a line to -1 at max_tokens, -1 beyond.
/// nullopt when the number of tokens is not known. Source: DAPO (arXiv 2503.14476), eq. 13.
class SoftOverlongPunishment final : public Reward {
 public:
  SoftOverlongPunishment(std::int64_t max_tokens, std::int64_t margin) : max_tokens_(max_tokens), margin_(margin) {}
  std::optional<double> score(const RewardSample& sample) const override;

 private:
  const std::int64_t max_tokens_, margin_;
};

}  // namespace athanor
