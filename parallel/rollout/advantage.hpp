// Advantages of the siblings of one prompt, from their rewards. Law: a group is whole on one rank; a sample that could
// not be scored has advantage 0 and does not touch its siblings'. Source: DeepSeekMath (arXiv 2402.03300) eq. 3;
// Dr.GRPO (arXiv 2503.20783); RLOO (arXiv 2402.14740).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace athanor {

enum class AdvantageKind : std::uint8_t {
  group,      ///< (r - mean) / (std + eps), std unbiased: GRPO
  mean_only,  ///< r - mean: Dr.GRPO
  rloo,       ///< r - mean of the others
};

struct GroupAdvantages {
  std::vector<double> advantages;  ///< one a sample
  bool zero_spread = false;        ///< all scored rewards alike: nothing to learn from
  std::int64_t unscored = 0;
};

/// @param eps  added to the standard deviation.
GroupAdvantages group_advantages(std::span<const std::optional<double>> rewards, AdvantageKind kind, double eps = 1e-4);

}  // namespace athanor
