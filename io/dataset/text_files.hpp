// What readers of text files share.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace athanor {

constexpr std::size_t kTextReadBytes = std::size_t{1} << 20;  ///< taken from a file at once
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";   ///< of UTF-8, at a file's beginning

/// A message of nlohmann::json without its "[json.exception.parse_error.101] ".
inline std::string without_tag(std::string_view message) {
  const std::size_t close = message.find("] ");
  return std::string(message.starts_with('[') && close != std::string_view::npos ? message.substr(close + 2) : message);
}

}  // namespace athanor
