#include "src/sandbox/sandbox.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "src/base/error.hpp"
#include "src/sandbox/escape_attempts.hpp"
#include "src/sandbox/messages.hpp"
#include "src/sandbox/system_programs.hpp"

namespace athanor {
namespace {
using Clock = std::chrono::steady_clock;

constexpr int kSocketInHelper = 3;
/// Longest silence beyond the longest run: starting sandboxes on a busy machine takes its time.
constexpr double kPatienceSeconds = 60.0;
constexpr double kCompilationSeconds = 60.0;

int processors() {
  cpu_set_t mine;
  return sched_getaffinity(0, sizeof mine, &mine) == 0 ? std::max(1, CPU_COUNT(&mine)) : 1;
}

}  // namespace

std::string default_sandbox_helper() {
  if (const char* given = std::getenv("ATHANOR_SANDBOX_HELPER"); given != nullptr && *given != '\0') return given;
  std::error_code failed;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", failed);
  return failed ? "athanor_sandbox" : (self.parent_path() / "athanor_sandbox").string();
}

Sandbox::Sandbox(const SandboxOptions& options) : slots_(options.slots > 0 ? options.slots : 2 * processors()) {
  const std::string helper = options.helper.empty() ? default_sandbox_helper() : options.helper;
  if (access(helper.c_str(), X_OK) != 0)
    throw ConfigError(
        fmt::format("sandbox: no helper at {}; it is built with athanor and lies beside it, or "
                    "ATHANOR_SANDBOX_HELPER names it",
                    helper));
  if (bubblewrap_path().empty())
    throw ConfigError("sandbox: no bwrap in /usr/bin or /usr/local/bin; install bubblewrap (jobs/setup.sh does)");
  try {
    start(helper);
    probe();
  } catch (...) {
    stop();
    throw;
  }
}

Sandbox::~Sandbox() { stop(); }

void Sandbox::start(const std::string& helper) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    throw Error(fmt::format("sandbox: socketpair: {}", std::strerror(errno)));
  socket_ = ends[0];
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&files, ends[1], kSocketInHelper);
  posix_spawn_file_actions_addclosefrom_np(&files, kSocketInHelper + 1);  // nothing of MPI's or HDF5's goes along
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  const std::string socket_word = std::to_string(kSocketInHelper), slots_word = std::to_string(slots_);
  char* const arguments[] = {const_cast<char*>(helper.c_str()), const_cast<char*>("serve"),
                             const_cast<char*>(socket_word.c_str()), const_cast<char*>(slots_word.c_str()), nullptr};
  char* const environment[] = {const_cast<char*>("PATH=/usr/bin:/bin"), nullptr};  // no secrets of the job's
  const int failed = posix_spawn(&process_, helper.c_str(), &files, &attributes, arguments, environment);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  close(ends[1]);
  if (failed != 0) {
    process_ = -1;
    throw ConfigError(fmt::format("sandbox: cannot start {}: {}", helper, std::strerror(failed)));
  }
  last_report_ = Clock::now().time_since_epoch().count();
  reader_ = std::thread([this] { read_reports(); });
}

void Sandbox::probe() {
  Program program;
  program.kind = ProgramKind::probe;
  program.inputs = {""};
  program.limits = {.cpu_seconds = 10.0,
                    .wall_seconds = 30.0,
                    .memory_bytes = 256ULL << 20,
                    .scratch_bytes = 4ULL << 20,
                    .output_bytes = 1ULL << 16,
                    .max_processes = 1,
                    .max_threads = 8};
  constexpr std::string_view kWhy =
      "; programs are not run without a sandbox (needs bubblewrap, user namespaces and seccomp; containers often "
      "forbid "
      "user namespaces)";
  ProgramRun run;
  try {
    run = Sandbox::run(std::move(program)).runs.front();
  } catch (const Error& error) {
    throw ConfigError(fmt::format("{}{}", error.what(), kWhy));
  }
  if (run.status != RunStatus::finished || run.exit_code != 0)
    throw ConfigError(
        fmt::format("sandbox: it cannot be set up here: {} (exit status {}){}", run.message, run.exit_code, kWhy));
  if (run.output != kAttemptsDone)
    throw ConfigError(fmt::format("sandbox: the walls do not hold here; a program\n{}{}", run.output, kWhy.substr(2)));
}

Sandbox::Pending Sandbox::submit(Program program) {
  const double wall = program.limits.wall_seconds + (program.kind == ProgramKind::cpp ? kCompilationSeconds : 0.0);
  for (double longest = longest_run_seconds_; wall > longest;)
    if (longest_run_seconds_.compare_exchange_weak(longest, wall)) break;
  Request request{0, std::move(program)};
  Pending pending;
  {
    const std::lock_guard lock(mutex_);
    if (!dead_.empty()) throw Error(dead_);
    request.id = next_id_++;
    if (waiting_.empty()) last_report_ = Clock::now().time_since_epoch().count();
    const std::size_t runs = request.program.inputs.size();
    const std::size_t missing = runs + (request.program.kind == ProgramKind::cpp ? 1 : 0);
    Waiting waiting{{}, {}, missing};
    waiting.result.runs.resize(runs);
    pending = waiting.promise.get_future().share();
    if (missing == 0) {
      waiting.promise.set_value(std::move(waiting.result));
      return pending;
    }
    waiting_.emplace(request.id, std::move(waiting));
  }
  const std::string bytes = frame(request);
  const std::lock_guard lock(sending_);
  for (std::size_t sent = 0; sent < bytes.size();) {
    const ssize_t size = send(socket_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) break;  // the reader meets the same end, and fails what waits
    sent += static_cast<std::size_t>(size);
  }
  return pending;
}

ProgramResult Sandbox::wait(const Pending& pending) const {
  while (pending.wait_for(std::chrono::seconds(1)) != std::future_status::ready) {
    const Clock::duration silent =
        Clock::now().time_since_epoch() - Clock::duration(last_report_.load(std::memory_order_relaxed));
    const double seconds = std::chrono::duration<double>(silent).count();
    if (seconds > longest_run_seconds_ + kPatienceSeconds)
      throw Error(fmt::format("sandbox: its helper (process {}) has reported nothing for {:.0f} s", process_, seconds));
  }
  return pending.get();
}

void Sandbox::read_reports() {
  std::string bytes;
  std::string block(1 << 16, '\0');
  while (true) {
    const ssize_t size = recv(socket_, block.data(), block.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return fail_all(fmt::format("sandbox: its helper (process {}) has ended", process_));
    bytes.append(block, 0, static_cast<std::size_t>(size));
    try {
      while (const auto body = take_frame(bytes)) {
        Report report = parse_report(*body);
        take(report.id, report.index, std::move(report.run));
      }
    } catch (const std::exception& error) {
      return fail_all(error.what());
    }
  }
}

void Sandbox::take(std::uint64_t id, std::int64_t index, ProgramRun run) {
  last_report_ = Clock::now().time_since_epoch().count();
  const std::lock_guard lock(mutex_);
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return;
  Waiting& waiting = found->second;
  if (index == Report::kCompilation) {
    waiting.result.compiled = run.status == RunStatus::finished && run.exit_code == 0;
    waiting.result.compilation = std::move(run);
    if (!waiting.result.compiled) {
      waiting.result.runs.clear();
      waiting.missing = 1;
    }
  } else {
    waiting.result.runs.at(static_cast<std::size_t>(index)) = std::move(run);
  }
  if (--waiting.missing > 0) return;
  waiting.promise.set_value(std::move(waiting.result));
  waiting_.erase(found);
}

void Sandbox::fail_all(const std::string& why) {
  const std::lock_guard lock(mutex_);
  dead_ = why;
  for (auto& [id, waiting] : waiting_) waiting.promise.set_exception(std::make_exception_ptr(Error(why)));
  waiting_.clear();
}

void Sandbox::stop() noexcept {
  if (socket_ >= 0) shutdown(socket_, SHUT_RDWR);  // the helper ends at the end of its socket, the reader too
  if (reader_.joinable()) reader_.join();
  if (process_ > 0) {
    kill(process_, SIGKILL);  // its sandboxes die with it (bubblewrap --die-with-parent)
    while (waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  if (socket_ >= 0) close(socket_);
  socket_ = -1;
  process_ = -1;
}

}  // namespace athanor
