// Indices of the reference operations, which count in i64 as the back ends do.
#pragma once

#include <cstddef>
#include <cstdint>

namespace athanor::reference {

inline std::size_t u(std::int64_t i) { return static_cast<std::size_t>(i); }

}  // namespace athanor::reference
