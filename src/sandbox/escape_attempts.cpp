#include "src/sandbox/escape_attempts.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

namespace athanor {
namespace {

void got_through(const std::string& what) { std::printf("%s\n", what.c_str()); }

bool can_open(const char* path, int flags) {
  const int file = open(path, flags | O_CLOEXEC, 0600);
  if (file >= 0) close(file);
  return file >= 0;
}

void try_files(const SandboxLimits& limits) {
  for (const char* path : {"/etc/passwd", "/etc/shadow", "/proc/1/environ", "/proc/self/maps", "/root", "/home", "/sys",
                           "/dev/mem", "/dev/shm", "/tmp", "/var", "/run"})
    if (can_open(path, O_RDONLY)) got_through(std::string("reads ") + path);
  for (const char* path : {"/athanor_escape", "/usr/athanor_escape", "/tmp/athanor_escape", "/dev/athanor_escape"})
    if (can_open(path, O_WRONLY | O_CREAT)) got_through(std::string("writes ") + path);
  // Standard streams and what is not ours of the files of this process.
  for (int file = 3; file < 256; ++file)
    if (fcntl(file, F_GETFD) != -1) got_through("inherits file " + std::to_string(file));
  if (chmod("/athanor_sandbox", 0777) == 0) got_through("changes files of the sandbox");
  // More than the scratch folder may hold, in several files: RLIMIT_FSIZE alone would not stop it.
  const std::vector<char> block(1 << 20);
  std::uint64_t written = 0;
  for (int i = 0; i < 4; ++i) {
    const std::string name = "/scratch/full" + std::to_string(i);
    const int file = open(name.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    while (file >= 0 && written <= limits.scratch_bytes) {
      const ssize_t size = write(file, block.data(), block.size());
      if (size <= 0) break;
      written += static_cast<std::uint64_t>(size);
    }
    if (file >= 0) close(file);
  }
  if (written > limits.scratch_bytes) got_through("fills the scratch folder beyond its size");
}

void try_network() {
  for (const int family : {AF_INET, AF_INET6, AF_UNIX, AF_NETLINK})
    if (socket(family, SOCK_STREAM, 0) >= 0 || socket(family, SOCK_DGRAM, 0) >= 0)
      got_through("opens a socket of family " + std::to_string(family));
}

void try_processes(const SandboxLimits& limits) {
  if (getppid() > 1 && kill(getppid(), SIGKILL) == 0) got_through("kills its parent");
  if (kill(1, SIGKILL) == 0 && kill(1, 0) != 0) got_through("kills the first process");
  if (ptrace(PTRACE_ATTACH, getppid(), nullptr, nullptr) == 0) got_through("traces its parent");
  std::uint32_t children = 0;
  while (children < limits.max_threads + 2) {
    const pid_t child = fork();
    if (child == 0) pause();
    if (child < 0) break;
    ++children;
  }
  if (children > (limits.max_processes == 1 ? 0 : limits.max_threads))
    got_through("makes " + std::to_string(children) + " processes");
}

void try_kernel(const SandboxLimits& limits) {
  if (unshare(CLONE_NEWUSER) == 0) got_through("makes a user namespace");
  if (mount("none", "/scratch", "tmpfs", 0, nullptr) == 0) got_through("mounts a file system");
  if (setuid(0) == 0) got_through("becomes root");
  if (shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600) >= 0) got_through("makes shared memory");
  const std::uint64_t too_much = limits.memory_bytes + (64U << 20);
  if (mmap(nullptr, too_much, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
    got_through("takes " + std::to_string(too_much) + " bytes of memory");
}

}  // namespace

void try_to_escape(const SandboxLimits& limits) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file that is full is to be an error, not the end
  try_files(limits);
  try_network();
  try_kernel(limits);
  try_processes(limits);
  std::printf("%s", kAttemptsDone);
  std::fflush(stdout);
}

}  // namespace athanor
