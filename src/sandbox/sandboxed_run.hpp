// One program in one sandbox, from start to end, as the server sees it.
#pragma once

#include <poll.h>
#include <sys/types.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "src/sandbox/program.hpp"

namespace athanor {

/// An open file. Law: closed exactly once.
class OpenFile {
 public:
  explicit OpenFile(int file = -1) : file_(file) {}
  OpenFile(OpenFile&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
  OpenFile& operator=(OpenFile&& other) noexcept {
    std::swap(file_, other.file_);
    return *this;
  }
  ~OpenFile() { reset(); }
  int get() const { return file_; }
  explicit operator bool() const { return file_ >= 0; }
  void reset() noexcept;

 private:
  int file_;
};

/// A file in memory with these bytes, that nobody can change any more; its position is at the beginning. @throws Error
OpenFile sealed_memory_file(const char* name, std::string_view bytes);

class SandboxedRun {
 public:
  using Clock = std::chrono::steady_clock;

  /// @param command  of bubblewrap_command. @param program, helper  what kProgramFile and kHelperFile will be.
  /// @throws Error when no process can be started.
  SandboxedRun(const std::vector<std::string>& command, const std::string& input, const OpenFile& program,
               const OpenFile& helper, const SandboxLimits& limits);
  SandboxedRun(SandboxedRun&&) = default;
  SandboxedRun& operator=(SandboxedRun&&) = default;

  Clock::time_point deadline() const { return deadline_; }
  void add_files(std::vector<pollfd>& files) const;
  /// Reads what there is; ends the sandbox when it is over its bounds. @returns true when all is over.
  bool advance();
  /// Once `advance` has said true.
  ProgramRun take() { return std::move(run_); }

 private:
  void drain(OpenFile& file, std::string& text, std::size_t keep_last);
  void look_at_status();
  void end(RunStatus why);
  void finish(int wait_status);

  SandboxLimits limits_;
  Clock::time_point begin_ = Clock::now(), deadline_;  ///< of the setting up, then of the program
  pid_t process_ = -1;
  OpenFile ended_, output_, error_, status_;
  std::string status_text_;
  std::uint64_t written_ = 0;
  bool stopped_ = false, entered_ = false;
  ProgramRun run_;
};

}  // namespace athanor
