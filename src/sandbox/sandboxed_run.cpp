#include "src/sandbox/sandboxed_run.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "src/base/error.hpp"
#include "src/sandbox/bubblewrap.hpp"
#include "src/sandbox/enter.hpp"

namespace athanor {
namespace {

/// A busy machine may take long to make namespaces; the program's own time begins when it does.
constexpr std::chrono::seconds kSettingUp{30};

[[noreturn]] void fail(const char* what) { throw Error(std::string("sandbox: ") + what + ": " + std::strerror(errno)); }

std::pair<OpenFile, OpenFile> make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) fail("pipe");
  OpenFile from(ends[0]), to(ends[1]);
  if (fcntl(from.get(), F_SETFL, O_NONBLOCK) != 0) fail("pipe");
  return {std::move(from), std::move(to)};
}

/// In the child, between fork and exec: `files[i]` becomes i, everything else is closed.
void become(const std::array<int, kLastRunFile + 1>& files, char* const* arguments) {
  constexpr int kAbove = 64;  // out of the way of the final numbers
  std::array<int, kLastRunFile + 1> moved{};
  for (std::size_t i = 0; i < files.size(); ++i) moved[i] = fcntl(files[i], F_DUPFD, kAbove);
  for (std::size_t i = 0; i < files.size(); ++i)
    if (moved[i] < 0 || dup2(moved[i], static_cast<int>(i)) < 0) _exit(125);
  if (syscall(SYS_close_range, kLastRunFile + 1, ~0U, 0) != 0) _exit(125);
  for (const int signal : {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGQUIT}) std::signal(signal, SIG_DFL);
  execv(arguments[0], arguments);
  _exit(125);
}

}  // namespace

void OpenFile::reset() noexcept {
  if (file_ >= 0) close(file_);
  file_ = -1;
}

OpenFile sealed_memory_file(const char* name, std::string_view bytes) {
  OpenFile file(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file) fail("memory file");
  while (!bytes.empty()) {
    const ssize_t size = write(file.get(), bytes.data(), bytes.size());
    if (size <= 0) fail("write a memory file");
    bytes.remove_prefix(static_cast<std::size_t>(size));
  }
  if (fcntl(file.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0) fail("seal");
  if (lseek(file.get(), 0, SEEK_SET) != 0) fail("seek");
  return file;
}

SandboxedRun::SandboxedRun(const std::vector<std::string>& command, const std::string& input, const OpenFile& program,
                           const OpenFile& helper, const SandboxLimits& limits)
    : limits_(limits), deadline_(begin_ + kSettingUp) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const OpenFile stdin_file = sealed_memory_file("input", input);
  // Opened anew: bubblewrap reads it from its position, which dup'ed files share.
  const std::string helper_path = "/proc/self/fd/" + std::to_string(helper.get());
  const OpenFile own_helper(open(helper_path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!own_helper) fail("open the helper");
  auto [output, output_end] = make_pipe();
  auto [error, error_end] = make_pipe();
  auto [status, status_end] = make_pipe();
  const std::array<int, kLastRunFile + 1> files{stdin_file.get(), output_end.get(), error_end.get(),
                                                status_end.get(), program.get(),    own_helper.get()};
  process_ = fork();
  if (process_ < 0) fail("fork");
  if (process_ == 0) become(files, arguments.data());
  ended_ = OpenFile(static_cast<int>(syscall(434 /* pidfd_open */, process_, 0)));
  if (!ended_) {
    kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
    fail("pidfd_open");
  }
  output_ = std::move(output);
  error_ = std::move(error);
  status_ = std::move(status);
}

void SandboxedRun::add_files(std::vector<pollfd>& files) const {
  for (const OpenFile* file : {&ended_, &output_, &error_, &status_})
    if (*file) files.push_back({file->get(), POLLIN, 0});
}

void SandboxedRun::drain(OpenFile& file, std::string& text, std::size_t keep_last) {
  char block[1 << 16];
  while (file) {
    const ssize_t size = read(file.get(), block, sizeof block);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return;  // nothing more by now
    if (size == 0) return file.reset();
    written_ += static_cast<std::uint64_t>(size);
    text.append(block, static_cast<std::size_t>(size));
    if (keep_last != 0 && text.size() > keep_last) text.erase(0, text.size() - keep_last);
    if (written_ > limits_.output_bytes) end(RunStatus::output_limit);
  }
}

void SandboxedRun::end(RunStatus why) {
  if (stopped_) return;
  stopped_ = true;
  run_.status = why;
  kill(process_, SIGKILL);  // bubblewrap's watcher: the kernel then ends the first process, and with it the namespace
  output_.reset();
  error_.reset();
}

void SandboxedRun::look_at_status() {
  char byte = 0;
  while (status_) {
    const ssize_t size = read(status_.get(), &byte, 1);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return;
    if (size == 0) return status_.reset();
    status_text_ += byte;
    if (byte != kEntered || entered_) continue;
    entered_ = true;
    begin_ = Clock::now();
    deadline_ =
        begin_ + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(limits_.wall_seconds));
  }
}

bool SandboxedRun::advance() {
  look_at_status();
  if (!stopped_) drain(output_, run_.output, 0);
  if (!stopped_) drain(error_, run_.message, kKeptErrorBytes);
  if (!stopped_ && Clock::now() >= deadline_) end(RunStatus::time_limit);
  int wait_status = 0;
  if (waitpid(process_, &wait_status, WNOHANG) != process_) return false;
  if (!stopped_) drain(output_, run_.output, 0);  // what came between the last look and the end
  if (!stopped_) drain(error_, run_.message, kKeptErrorBytes);
  finish(wait_status);
  return true;
}

void SandboxedRun::finish(int wait_status) {
  run_.wall_seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
  if (run_.output.size() > limits_.output_bytes) run_.output.resize(limits_.output_bytes);
  look_at_status();
  run_.exit_code = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
  if (stopped_ && run_.status == RunStatus::output_limit) return;
  if (status_text_ != std::string(1, kEntered)) {
    run_.status = RunStatus::broken;
    if (run_.message.empty())
      run_.message = stopped_ ? "not set up within 30 s" : "bubblewrap ended with " + std::to_string(run_.exit_code);
    return;
  }
  if (!stopped_) run_.status = run_.exit_code == 128 + SIGXCPU ? RunStatus::time_limit : RunStatus::finished;
}

}  // namespace athanor
