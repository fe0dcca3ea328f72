// What client and server say to each other over their socket: frames of a 4-byte length and a body. Both ends are the
// same build on the same machine, so numbers travel as they lie in memory.
//   client -> server: Request (one a program)     server -> client: Report (one a finished run, in any order)
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "src/sandbox/program.hpp"

namespace athanor {

struct Request {
  std::uint64_t id = 0;
  Program program{};
};

struct Report {
  static constexpr std::int64_t kCompilation = -1;
  std::uint64_t id = 0;    ///< of the request
  std::int64_t index = 0;  ///< of the input, or kCompilation
  ProgramRun run{};
};

/// A whole frame. @throws Error for a body of 4 GiB or more.
std::string frame(const Request& request);
std::string frame(const Report& report);

/// Takes the first frame's body off the front of `bytes`; nullopt while it is not whole.
std::optional<std::string> take_frame(std::string& bytes);
/// @throws Error for a body that ends early.
Request parse_request(std::string_view body);
Report parse_report(std::string_view body);

}  // namespace athanor
