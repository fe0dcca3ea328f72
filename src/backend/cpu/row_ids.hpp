// Checks of index tensors. Law: indices live on the device, so they can only be looked at inside stream work; a kernel
// checks them all before it touches any row, in one pass that vectorises.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "src/base/error.hpp"

namespace athanor::cpu {

/// @param lowest  0, or -1 where an id may say "none".
/// @throws Error naming the first id that is not in [lowest, limit).
inline void require_ids(std::string_view op, const std::int32_t* ids, std::int64_t count, std::int64_t limit,
                        std::int32_t lowest = 0) {
  // As unsigned numbers those below the lowest are too large as well.
  const auto first = static_cast<std::uint32_t>(lowest);
  const auto bound = static_cast<std::uint32_t>(std::clamp<std::int64_t>(limit, 0, std::int64_t{1} << 31)) - first;
  std::uint32_t bad = 0;
#pragma omp simd reduction(| : bad)
  for (std::int64_t i = 0; i < count; ++i) bad |= static_cast<std::uint32_t>(ids[i]) - first >= bound ? 1U : 0U;
  if (bad == 0) return;
  for (std::int64_t i = 0; i < count; ++i)
    if (ids[i] < lowest || ids[i] >= limit)
      throw Error(std::string(op) + ": wanted ids in [" + std::to_string(lowest) + ", " + std::to_string(limit) +
                  "), found " + std::to_string(ids[i]) + " at place " + std::to_string(i));
}

}  // namespace athanor::cpu
