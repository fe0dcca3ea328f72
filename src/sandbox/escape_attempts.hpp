// What a hostile program would try first, tried from inside by our own code before any reward is given out. Law: an
// attempt that the walls stop prints nothing; one that gets through prints a line with its name.
#pragma once

#include "src/sandbox/program.hpp"

namespace athanor {

/// The process is the program in the sandbox. Prints the attempts that succeeded and, as the last line, kAttemptsDone.
/// @param limits  of this run: going beyond them is an attempt.
void try_to_escape(const SandboxLimits& limits);

inline constexpr const char* kAttemptsDone = "attempts done\n";

}  // namespace athanor
