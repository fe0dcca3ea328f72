// The second wall, raised from inside the namespaces: /scratch with its bounds, limits on the process, no capability,
// the system call filter. Then the process becomes the program. Law: kStatusFile gets one byte kEntered just before, so
// that whoever waits can tell a program's failure from the sandbox's.
#pragma once

#include <string>
#include <vector>

#include "src/sandbox/program.hpp"

namespace athanor {

inline constexpr char kEntered = 'E';
/// Where the helper's own program file lies in the sandbox.
inline constexpr const char* kHelperInside = "/athanor_sandbox";

/// The words that have the helper do it: kHelperInside enter LIMITS... NAME -- COMMAND...
std::vector<std::string> enter_command(const SandboxLimits& limits, const std::string& program_name,
                                       const std::vector<std::string>& command);
/// @param words  of enter_command, behind "enter". Returns only by throwing. @throws Error
[[noreturn]] void enter(const std::vector<std::string>& words);

/// Limits as words and back, for command lines. @throws Error for words that are no limits.
std::vector<std::string> limit_words(const SandboxLimits& limits);
SandboxLimits parse_limit_words(const std::vector<std::string>& words);
inline constexpr std::size_t kNumLimitWords = 7;

}  // namespace athanor
