#pragma once

#include <cstddef>
#include <string>

namespace athanor::testing {

/// How often `part` stands in `text`.
inline std::size_t count(const std::string& text, const std::string& part) {
  std::size_t hits = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++hits;
  return hits;
}

}  // namespace athanor::testing
