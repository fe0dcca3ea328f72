// What is run in the sandbox and what came of it: plain records, the same on both sides of the socket.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace athanor {

enum class ProgramKind : std::uint8_t {
  python,
  cpp,
  probe  ///< the helper's own escape attempts (see escape_attempts.hpp); source and inputs are not looked at
};

/// Bounds of one run. Law: memory is exact (one process with this address space, and a scratch folder of bounded size)
/// while max_processes is 1; else it holds for each process.
struct SandboxLimits {
  double cpu_seconds = 5.0;                   ///< rounded up to whole seconds by the kernel
  double wall_seconds = 22.0;                 ///< above cpu_seconds: cores may be busy with others
  std::uint64_t memory_bytes = 512ULL << 20;  ///< address space of a process
  std::uint64_t scratch_bytes = 32ULL << 20;  ///< of /scratch, which lives in memory and dies with the run
  std::uint64_t output_bytes = 1ULL << 20;    ///< standard output and standard error together
  std::uint32_t max_processes = 1;            ///< 1: no new process, threads only
  std::uint32_t max_threads = 32;             ///< of all processes
  bool operator==(const SandboxLimits&) const = default;
};

/// One program and the standard inputs it is run with, each run in a sandbox of its own.
struct Program {
  ProgramKind kind = ProgramKind::python;
  std::string source;
  std::vector<std::string> inputs;
  SandboxLimits limits{};
};

enum class RunStatus : std::uint8_t {
  finished,      ///< ended by itself; see exit_code
  time_limit,    ///< CPU or wall time was over
  output_limit,  ///< wrote more than it may; what it wrote is cut
  broken         ///< the sandbox could not be set up: says nothing about the program
};

struct ProgramRun {
  RunStatus status = RunStatus::broken;
  std::int32_t exit_code = -1;  ///< 128 + signal when one ended it
  double wall_seconds = 0.0;
  std::string output{};   ///< standard output, cut at the bound
  std::string message{};  ///< end of standard error; why it is broken
};

struct ProgramResult {
  bool compiled = true;          ///< false: see compilation; no test was run
  ProgramRun compilation{};      ///< C++ only
  std::vector<ProgramRun> runs;  ///< one an input, in order
};

/// Most bytes of standard error that are kept.
inline constexpr std::size_t kKeptErrorBytes = 2000;

}  // namespace athanor
