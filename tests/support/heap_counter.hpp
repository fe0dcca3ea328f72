// Counts heap allocations of a test program: linking athanor_test_heap_counter replaces operator new.
#pragma once

#include <cstdint>

namespace athanor {

/// Calls of operator new so far, on all threads. malloc of C libraries is not seen.
std::int64_t heap_allocations();

}  // namespace athanor
