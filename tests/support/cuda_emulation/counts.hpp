// What host code asked of the emulated GPU that a real one would make it pay for.
#pragma once

#include <cstdint>

namespace emulation {

struct Counts {
  std::int64_t allocations = 0;  ///< of device memory and of page-locked memory
  std::int64_t waits = 0;        ///< of the host for a stream, an event or the device
  bool operator==(const Counts&) const = default;
};
/// Since the program began.
Counts counts();

}  // namespace emulation
