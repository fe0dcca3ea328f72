// Which build of the program this process runs.
#pragma once

#include <string>

namespace athanor {

/// The identity that the linker gave the running binary: a hash of all that is linked into it (GNU build-id), in hex.
/// Costs no reading of files. Empty where the binary has none.
std::string build_identity();

}  // namespace athanor
