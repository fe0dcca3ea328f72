#include "parallel/rollout/advantage.hpp"

#include <cmath>

namespace athanor {

GroupAdvantages group_advantages(std::span<const std::optional<double>> rewards, AdvantageKind kind, double eps) {
  GroupAdvantages result;
  result.advantages.resize(rewards.size(), 0.0);
  double sum = 0.0, count = 0.0;
  for (const auto& reward : rewards) {
    if (!reward) {
      ++result.unscored;
      continue;
    }
    sum += *reward;
    count += 1.0;
  }
  if (count < 2.0) {
    result.zero_spread = true;
    return result;
  }
  const double mean = sum / count;
  double squares = 0.0;
  for (const auto& reward : rewards)
    if (reward) squares += (*reward - mean) * (*reward - mean);
  result.zero_spread = squares == 0.0;
  if (result.zero_spread) return result;
  const double deviation = std::sqrt(squares / (count - 1.0));
  for (std::size_t i = 0; i < rewards.size(); ++i) {
    if (!rewards[i]) continue;
    const double above = *rewards[i] - mean;
    switch (kind) {
      case AdvantageKind::group:
        result.advantages[i] = above / (deviation + eps);
        break;
      case AdvantageKind::mean_only:
        result.advantages[i] = above;
        break;
      case AdvantageKind::rloo:
        result.advantages[i] = above * count / (count - 1.0);
        break;
    }
  }
  return result;
}

}  // namespace athanor
