// Counts every operator new of the program that links counting_new.cpp.
#pragma once

#include <cstdint>

namespace athanor::testing {

std::int64_t heap_allocations();

}  // namespace athanor::testing
