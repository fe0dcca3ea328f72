// The known name that a mistyped one most likely meant, for error messages.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace athanor {

/// Insertions, deletions and replacements of bytes that turn a into b.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// "'cosin' is not known; the nearest is cosine; known are accuracy, cosine, format".
std::string unknown_name(std::string_view name, std::span<const std::string> known);

}  // namespace athanor
