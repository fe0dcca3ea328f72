#include "src/reward/accuracy.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "src/text/utf8.hpp"

namespace athanor {
namespace {
double num_characters(const RewardSample& sample) {
  return static_cast<double>(to_code_points(sample.completion).size());
}
}  // namespace

std::optional<double> AccuracyReward::score(const RewardSample& sample) const {
  const auto right = checks_->is_right(sample);
  if (!right) return std::nullopt;
  return *right ? 1.0 : 0.0;
}

std::optional<double> CosineReward::score(const RewardSample& sample) const {
  const auto right = checks_->is_right(sample);
  if (!right) return 1.0;
  double progress = num_characters(sample) / static_cast<double>(options_.max_length);
  if (!options_.unclamped) progress = std::min(progress, 1.0);
  const double at_start = *right ? options_.max_value_correct : options_.min_value_wrong;
  const double at_end = *right ? options_.min_value_correct : options_.max_value_wrong;
  return at_end + 0.5 * (at_start - at_end) * (1.0 + std::cos(std::numbers::pi * progress));
}

std::vector<std::optional<double>> LengthReward::score_group(std::span<const RewardSample> group) const {
  std::vector<double> lengths;
  for (const RewardSample& sample : group) lengths.push_back(num_characters(sample));
  std::vector<std::optional<double>> scores(group.size(), 0.0);
  if (group.empty()) return scores;
  const auto [shortest, longest] = std::minmax_element(lengths.begin(), lengths.end());
  if (*shortest == *longest) return scores;
  for (std::size_t i = 0; i < group.size(); ++i) {
    const double lambda = 0.5 - (lengths[i] - *shortest) / (*longest - *shortest);
    scores[i] = checks_->is_right(group[i]).value_or(true) ? lambda : std::min(0.0, lambda);
  }
  return scores;
}

std::optional<double> SoftOverlongPunishment::score(const RewardSample& sample) const {
  const std::int64_t length = sample.completion_tokens;
  if (length < 0) return std::nullopt;
  if (length > max_tokens_) return -1.0;
  const std::int64_t free = max_tokens_ - margin_;
  if (length <= free) return 0.0;
  return static_cast<double>(free - length) / static_cast<double>(margin_);
}

}  // namespace athanor
