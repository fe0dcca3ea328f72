// A fault made on purpose: one rank throws or dies at a chosen call in the middle of a step. For rehearsing how a job
// ends, and for its tests.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace athanor {

struct Fault {
  enum class Kind : std::uint8_t { throw_error, kill } kind = Kind::throw_error;
  int rank = 0;
  std::string axis;       ///< as to_string(Axis) writes it, or "ends"
  std::int64_t step = 1;  ///< of the stage, from 1
  std::int64_t call = 1;  ///< of that rank along that axis within that step, from 1; tensors and host messages count
};

/// Reads "throw@rank=1:axis=ep:step=3:call=2" or "kill@...". Left out: rank 0, step 1, call 1; the axis must be named.
/// @throws ConfigError saying what is wrong.
Fault parse_fault(std::string_view text);

/// The inverse of parse_fault, every part written out.
std::string to_string(const Fault& fault);

}  // namespace athanor
