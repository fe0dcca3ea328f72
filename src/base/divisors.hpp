// What would divide a number, for messages that say what was wanted.
#pragma once

#include <cstdint>
#include <string>

namespace athanor {

/// "1, 2, 4, 8" of 8.
inline std::string divisors_of(std::int64_t value) {
  std::string text;
  for (std::int64_t d = 1; d <= value; ++d)
    if (value % d == 0) text += (text.empty() ? "" : ", ") + std::to_string(d);
  return text;
}

}  // namespace athanor
