// The choice between memory and work in the backward.
#pragma once

#include <cstdint>

namespace athanor {

/// What a forward keeps for its backward, and what is computed again there.
enum class Recompute : std::uint8_t {
  none,       ///< everything is kept
  selective,  ///< queries, keys, values and the inner products of feed-forward networks are computed again: little work
              ///< for much memory (DeepSeek-V3 report, section 3.2.3)
  full,       ///< a block keeps its input alone
};

}  // namespace athanor
