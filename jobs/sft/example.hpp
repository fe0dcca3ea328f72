// A conversation as it is learned.
#pragma once

#include <cstdint>
#include <vector>

namespace athanor {

/// A conversation as tokens; learned[i]: token i is the assistant's, so a target that counts.
struct Example {
  std::vector<std::int32_t> tokens;
  std::vector<std::uint8_t> learned;

  std::int64_t num_learned() const;
};

}  // namespace athanor
