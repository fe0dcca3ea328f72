// Programs that try to get out, or to take all there is. Each test lets one run and then an honest one: the sandbox has
// to stop the first and to live on.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "tests/src/sandbox/programs.hpp"

namespace athanor {
namespace {

class Escape : public PythonTest {
 protected:
  /// The helper lives, and does what it should, whatever ran before.
  void TearDown() override {
    if (IsSkipped()) return;
    EXPECT_EQ(run_one(python("print(6 * 7)")).output, "42\n");
    EXPECT_EQ(kill(sandbox().helper_process(), 0), 0);
  }
};

/// Prints "in" when `attempt` works and the exception's name when not.
std::string tried(const std::string& attempt) {
  return "try:\n  " + attempt + "\n  print('in')\nexcept BaseException as e:\n  print(type(e).__name__)\n";
}

// A program that never ends is ended, and said to have run out of time.
TEST_F(Escape, InfiniteLoop) {
  Program program = python("while True: pass");
  program.limits.cpu_seconds = 1.0;
  EXPECT_EQ(run_one(program).status, RunStatus::time_limit);
  program.source = "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass";
  EXPECT_NE(run_one(program).exit_code, 0);  // who does not listen is killed
  program.source = "import time\ntime.sleep(1000)";
  program.limits.wall_seconds = 1.0;
  EXPECT_EQ(run_one(program).status, RunStatus::time_limit);
}

// No new process while one is allowed; with several, the bound holds; in both cases all of them are gone afterwards.
TEST_F(Escape, ForkBomb) {
  EXPECT_EQ(run_one(python(tried("import os; os.fork()"))).output, "BlockingIOError\n");
  Program bomb = python(
      "import os, time\nn = 0\nwhile n < 1000:\n  try:\n    if os.fork() == 0:\n      time.sleep(1000)\n    n += 1\n"
      "  except OSError:\n    break\nprint(n)\n");
  bomb.limits.max_processes = bomb.limits.max_threads = 8;
  const int made = std::stoi(run_one(bomb).output);
  EXPECT_GT(made, 0);
  EXPECT_LE(made, 8);
  bomb.source = "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass\n";
  bomb.limits.wall_seconds = 1.0;
  EXPECT_EQ(run_one(bomb).status, RunStatus::time_limit);
}

// Memory beyond the bound is refused, whether taken by itself, kept in files, or shared.
TEST_F(Escape, MemoryBomb) {
  EXPECT_EQ(run_one(python(tried("x = bytearray(1 << 30)"))).output, "MemoryError\n");
  EXPECT_NE(run_one(python("x = []\nwhile True: x.append(bytearray(1 << 20))")).exit_code, 0);
  EXPECT_EQ(run_one(python(tried("open('big', 'wb').write(b'x' * (64 << 20))"))).output, "OSError\n");
  EXPECT_EQ(run_one(python("import os\nn = 0\ntry:\n  while True:\n    open(f'f{n}', 'w').close()\n    n += 1\n"
                           "except OSError:\n  print(n < 2000)"))
                .output,
            "True\n");
  EXPECT_EQ(run_one(python(tried("import os; os.memfd_create('x')"))).output, "PermissionError\n");
}

// Nothing of the machine's files but its programs and libraries is there to be read.
TEST_F(Escape, ReadsOutside) {
  for (const char* path : {"/etc/passwd", "/proc/self/environ", "/proc/1/cmdline", "/root", "/home", "/tmp", "/sys"})
    EXPECT_EQ(run_one(python(tried("import os; os.stat('" + std::string(path) + "')"))).output, "FileNotFoundError\n")
        << path;
  const std::string listed =
      run_one(python("import os\nprint(sorted(os.listdir('/etc') + os.listdir('/scratch')))")).output;
  EXPECT_EQ(listed.find("passwd"), std::string::npos) << listed;
  EXPECT_NE(listed.find("program.py"), std::string::npos) << listed;
  EXPECT_EQ(
      run_one(python("import os\nprint(len([k for k in os.environ if k.startswith(('OMPI', 'PMIX', 'ATHANOR'))]))"))
          .output,
      "0\n");
}

// Nothing can be written but in the scratch folder, and that is another one for every run.
TEST_F(Escape, WritesOutside) {
  const std::string mark = (std::filesystem::temp_directory_path() / "athanor_escape").string();
  for (const std::string& path : {std::string("/escape"), std::string("/usr/escape"), std::string("/dev/escape"), mark})
    EXPECT_NE(run_one(python(tried("open('" + path + "', 'w').write('x')"))).output, "in\n") << path;
  EXPECT_FALSE(std::filesystem::exists(mark));
  EXPECT_NE(run_one(python(tried("open('/athanor_sandbox', 'r+b')"))).output, "in\n");
  EXPECT_EQ(run_one(python(tried("open('/scratch/mine', 'w').write('x')"))).output, "in\n");
  EXPECT_EQ(run_one(python(tried("open('/scratch/mine')"))).output, "FileNotFoundError\n");
}

// No socket of any kind.
TEST_F(Escape, OpensASocket) {
  for (const char* family : {"AF_INET", "AF_INET6", "AF_UNIX"})
    EXPECT_EQ(run_one(python("import socket\n" + tried("socket.socket(socket." + std::string(family) + ")"))).output,
              "PermissionError\n")
        << family;
  EXPECT_EQ(run_one(python("import socket\n" + tried("socket.create_connection(('127.0.0.1', 22))"))).output,
            "PermissionError\n");
}

// Signals reach nobody but the program itself: not the watcher, not the helper, not this process.
TEST_F(Escape, KillsItsParent) {
  run_one(python("import os\nfor p in [os.getppid(), 1, -1, 0]:\n  try: os.kill(p, 9)\n  except OSError: pass"));
  const std::string by_number = "import os\nn = 0\nfor p in [" + std::to_string(getpid()) + ", " +
                                std::to_string(sandbox().helper_process()) +
                                "]:\n  try: os.kill(p, 9)\n  except ProcessLookupError: n += 1\nprint(n)";
  EXPECT_EQ(run_one(python(by_number)).output, "2\n");
}

// A gigabyte of output, on either stream, is cut at the bound and the program ended.
TEST_F(Escape, AGigabyteOfOutput) {
  for (const char* stream : {"stdout", "stderr"}) {
    Program program =
        python("import sys\nfor i in range(1024): sys." + std::string(stream) + ".write('x' * (1 << 20))");
    program.limits.output_bytes = 100'000;
    const ProgramRun run = run_one(program);
    EXPECT_EQ(run.status, RunStatus::output_limit) << stream;
    EXPECT_LE(run.output.size(), 100'000U);
    EXPECT_LE(run.message.size(), kKeptErrorBytes);
  }
}

// Namespaces, mounts, tracing, other users: through the C library, as no Python module offers them.
TEST_F(Escape, AsksTheKernel) {
  const std::string source =
      "import ctypes\nc = ctypes.CDLL(None, use_errno=True)\n"
      "print([c.unshare(0x10000000), c.mount(b'none', b'/scratch', b'tmpfs', 0, 0), c.ptrace(16, 1, 0, 0), c.setuid(0),"
      " c.syscall(425, 8, 0), c.chroot(b'/scratch'), c.shmget(0, 4096, 0o1600)])";
  EXPECT_EQ(run_one(python(source)).output, "[-1, -1, -1, -1, -1, -1, -1]\n");
}

// A compiler reads what it is told to: it is in a sandbox as well.
TEST(EscapeCpp, ReadsWhileItIsCompiled) {
  if (cpp_compiler_path().empty()) GTEST_SKIP() << "no C++ compiler in /usr/bin or /usr/local/bin";
  const ProgramResult result = sandbox().run(cpp("#include \"/etc/passwd\"\nint main() {}"));
  EXPECT_FALSE(result.compiled);
  EXPECT_NE(result.compilation.message.find("No such file"), std::string::npos) << result.compilation.message;
}

}  // namespace
}  // namespace athanor
