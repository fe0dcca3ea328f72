// The first wall: the command line of bubblewrap, which makes the namespaces and the file system a program sees.
//   /usr with /bin, /lib*, /sbin (read only), the linker's cache, /dev/null, /dev/zero, /dev/urandom, /scratch;
//   no /proc, /etc, /tmp, /home; no network device but a loopback; no process but its own; nobody's rights.
#pragma once

#include <string>
#include <vector>

#include "src/sandbox/program.hpp"

namespace athanor {

/// Where the parts of a run lie among its files: what bubblewrap and `enter` are handed besides 0, 1 and 2.
enum RunFile : int { kStatusFile = 3, kProgramFile = 4, kHelperFile = 5, kLastRunFile = kHelperFile };

/// @param bubblewrap  its path.  @param program_name  of the copy of kProgramFile in /scratch.
/// @param command     what is run there in the end.
std::vector<std::string> bubblewrap_command(const std::string& bubblewrap, const SandboxLimits& limits,
                                            const std::string& program_name, const std::vector<std::string>& command);

}  // namespace athanor
