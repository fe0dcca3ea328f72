#include "src/sandbox/enter.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>

#include "src/base/error.hpp"
#include "src/sandbox/bubblewrap.hpp"
#include "src/sandbox/system_call_filter.hpp"

namespace athanor {
namespace {

/// A program may have more files than any test needs, fewer than hurt.
constexpr rlim_t kOpenFiles = 64;
constexpr std::uint64_t kScratchFiles = 1024;

void check(bool good, const char* what) {
  if (!good) throw Error(std::string("sandbox: ") + what + ": " + std::strerror(errno));
}

/// A memory file system of its own: bubblewrap's has no bound on the number of files, which take memory too.
void mount_scratch(const SandboxLimits& limits) {
  const std::string bounds =
      "mode=0700,size=" + std::to_string(limits.scratch_bytes) + ",nr_inodes=" + std::to_string(kScratchFiles);
  check(mount("scratch", "/scratch", "tmpfs", MS_NOSUID | MS_NODEV, bounds.c_str()) == 0, "mount /scratch");
  check(chdir("/scratch") == 0, "chdir /scratch");
}

/// Other runs of the same program read the same open file at the same time: no use of its position.
void copy_program(const std::string& name) {
  const int copy = open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
  check(copy >= 0, "create the program's file");
  std::string block(1 << 16, '\0');
  for (off_t at = 0;;) {
    const ssize_t size = pread(kProgramFile, block.data(), block.size(), at);
    check(size >= 0, "read the program");
    if (size == 0) break;
    check(write(copy, block.data(), static_cast<std::size_t>(size)) == size, "write the program to /scratch");
    at += size;
  }
  close(copy);
}

void drop_capabilities() {
  check(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0, "clear ambient capabilities");
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability)
    prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);  // fails without CAP_SETPCAP, and then no_new_privs alone has to do
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
  check(syscall(SYS_capset, &header, none) == 0, "drop capabilities");
}

void set_limit(decltype(RLIMIT_AS) kind, rlim_t soft, rlim_t hard, const char* what) {
  const rlimit limit{soft, hard};
  check(setrlimit(kind, &limit) == 0, what);
}

void set_limits(const SandboxLimits& limits) {
  const auto cpu = static_cast<rlim_t>(std::max(1.0, std::ceil(limits.cpu_seconds)));
  const auto set = [](decltype(RLIMIT_AS) kind, rlim_t value, const char* what) {
    set_limit(kind, value, value, what);
  };
  set_limit(RLIMIT_CPU, cpu, cpu + 1, "limit CPU time");  // SIGXCPU, and SIGKILL for who does not listen
  set(RLIMIT_FSIZE, limits.scratch_bytes, "limit file size");
  set(RLIMIT_NOFILE, kOpenFiles, "limit open files");
  set(RLIMIT_CORE, 0, "limit core files");
  set(RLIMIT_MEMLOCK, 0, "limit locked memory");
  set(RLIMIT_SIGPENDING, 64, "limit waiting signals");
  set(RLIMIT_MSGQUEUE, 0, "limit message queues");
  // Counts what runs in this user namespace: this one, bubblewrap's first process, and what they start.
  set(RLIMIT_NPROC, rlim_t{1} + limits.max_threads, "limit processes");
  set(RLIMIT_AS, limits.memory_bytes, "limit memory");
}

}  // namespace

std::vector<std::string> limit_words(const SandboxLimits& limits) {
  return {std::to_string(limits.cpu_seconds),  std::to_string(limits.wall_seconds),
          std::to_string(limits.memory_bytes), std::to_string(limits.scratch_bytes),
          std::to_string(limits.output_bytes), std::to_string(limits.max_processes),
          std::to_string(limits.max_threads)};
}

SandboxLimits parse_limit_words(const std::vector<std::string>& words) try {
  const auto count = [&](std::size_t i) { return static_cast<std::uint32_t>(std::stoul(words.at(i))); };
  return {.cpu_seconds = std::stod(words.at(0)),
          .wall_seconds = std::stod(words.at(1)),
          .memory_bytes = std::stoull(words.at(2)),
          .scratch_bytes = std::stoull(words.at(3)),
          .output_bytes = std::stoull(words.at(4)),
          .max_processes = count(5),
          .max_threads = count(6)};
} catch (const std::logic_error&) {
  throw Error("sandbox: wanted " + std::to_string(kNumLimitWords) + " limits, all numbers");
}

std::vector<std::string> enter_command(const SandboxLimits& limits, const std::string& program_name,
                                       const std::vector<std::string>& command) {
  std::vector<std::string> words{kHelperInside, "enter"};
  for (std::string& word : limit_words(limits)) words.push_back(std::move(word));
  words.insert(words.end(), {program_name, "--"});
  words.insert(words.end(), command.begin(), command.end());
  return words;
}

void enter(const std::vector<std::string>& words) {
  const SandboxLimits limits = parse_limit_words(words);
  if (words.size() < kNumLimitWords + 3) throw Error("sandbox: wanted limits, a name, -- and a command");
  mount_scratch(limits);
  copy_program(words[kNumLimitWords]);
  check(fcntl(kStatusFile, F_SETFD, FD_CLOEXEC) == 0, "close the status file on exec");
  check(syscall(SYS_close_range, kStatusFile + 1, ~0U, 0) == 0, "close other files");
  drop_capabilities();
  set_limits(limits);
  std::vector<char*> arguments;
  for (std::size_t i = kNumLimitWords + 2; i < words.size(); ++i)
    arguments.push_back(const_cast<char*>(words[i].c_str()));
  arguments.push_back(nullptr);
  enter_system_call_filter(limits.max_processes > 1);
  check(write(kStatusFile, &kEntered, 1) == 1, "tell that all is ready");
  execv(arguments[0], arguments.data());
  const int cause = errno;
  constexpr char kFailed = 'F';
  if (write(kStatusFile, &kFailed, 1) != 1) _exit(125);
  throw Error(std::string("sandbox: run ") + arguments[0] + ": " + std::strerror(cause));
}

}  // namespace athanor
