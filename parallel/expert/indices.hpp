// Indices of host arrays, which count in i64 as the device's do.
#pragma once

#include <cstddef>
#include <cstdint>

namespace athanor {

inline std::size_t u(std::int64_t index) { return static_cast<std::size_t>(index); }

}  // namespace athanor
