// Runs programs nobody trusts. Laws:
//  * Three walls: bubblewrap's namespaces (bubblewrap.hpp), limits and no capabilities (enter.hpp), a system call
//  filter
//    (system_call_filter.hpp). All three, or no sandbox: the constructor has the helper try to break out, and throws
//    when an attempt gets through or bubblewrap cannot run.
//  * This process never forks: the helper (athanor_sandbox, started by posix_spawn, which copies no page table and runs
//    none of MPI's fork handlers) forks for it and keeps at most `slots` sandboxes busy.
//  * Nobody spins: submit returns at once, whoever waits for a result sleeps.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <future>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "src/sandbox/program.hpp"

namespace athanor {

struct SandboxOptions {
  std::string helper{};  ///< path of athanor_sandbox; empty: see default_sandbox_helper
  int slots = 0;         ///< sandboxes at once; 0: twice the processors this process may use (see README, Cost)
};

/// $ATHANOR_SANDBOX_HELPER, else athanor_sandbox beside the running program.
std::string default_sandbox_helper();

class Sandbox {
 public:
  using Pending = std::shared_future<ProgramResult>;

  /// Starts the helper and waits until it has tried all its escapes (some 50 ms).
  /// @throws ConfigError: no helper, no bubblewrap, or the walls do not hold on this machine, with what got through.
  explicit Sandbox(const SandboxOptions& options = {});
  ~Sandbox();  ///< ends what is still running; what was not waited for is an error of its future
  Sandbox(const Sandbox&) = delete;
  Sandbox& operator=(const Sandbox&) = delete;

  /// From any thread.
  Pending submit(Program program);
  /// Sleeps until the result is there. A run that is `broken` is part of the result.
  /// @throws Error when the helper has died, or reports nothing for a minute longer than any run may take.
  ProgramResult wait(const Pending& pending) const;
  ProgramResult run(Program program) { return wait(submit(std::move(program))); }

  int slots() const { return slots_; }
  pid_t helper_process() const { return process_; }

 private:
  struct Waiting {
    std::promise<ProgramResult> promise;
    ProgramResult result;
    std::size_t missing;  ///< reports
  };

  void start(const std::string& helper);
  void probe();
  void read_reports();
  void take(std::uint64_t id, std::int64_t index, ProgramRun run);
  void fail_all(const std::string& why);
  void stop() noexcept;

  int slots_;
  int socket_ = -1;
  pid_t process_ = -1;
  std::thread reader_;
  mutable std::mutex mutex_;  ///< of what follows
  std::map<std::uint64_t, Waiting> waiting_;
  std::uint64_t next_id_ = 0;
  std::string dead_;  ///< why nothing can be run any more
  std::mutex sending_;
  std::atomic<std::chrono::steady_clock::rep> last_report_{0};
  std::atomic<double> longest_run_seconds_{0.0};
};

}  // namespace athanor
