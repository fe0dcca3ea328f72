// Honest programs, many at once, and a sandbox that is not there.
#include "src/sandbox/sandbox.hpp"

#include <csignal>
#include <cstdlib>

#include "src/base/error.hpp"
#include "src/sandbox/messages.hpp"
#include "tests/src/sandbox/programs.hpp"

namespace athanor {
namespace {

using SandboxPython = PythonTest;

// Input, output, error text and exit status pass through unchanged, whatever the bytes.
TEST_F(SandboxPython, PassesStreams) {
  const ProgramRun run =
      run_one(python("import sys\nd = sys.stdin.buffer.read()\nsys.stdout.buffer.write(d[::-1])\nprint('why', "
                     "file=sys.stderr)\nexit(3)",
                     {std::string("ab\0\xFF", 4)}));
  EXPECT_EQ(run.status, RunStatus::finished);
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_EQ(run.output, std::string("\xFF\0ba", 4));
  EXPECT_EQ(run.message, "why\n");
}

// The usual modules work: threads, big numbers, text in UTF-8.
TEST_F(SandboxPython, RunsOrdinaryPrograms) {
  const ProgramRun run = run_one(python(
      "import threading, math, collections, heapq, itertools, re, random\nout = []\n"
      "t = threading.Thread(target=lambda: out.append(math.factorial(30)))\nt.start(); t.join()\nprint(out, '你好')"));
  EXPECT_EQ(run.output, "[265252859812191058636308480000000] 你好\n") << run.message;
}

// Results belong to their inputs and programs, however many run at once and in whatever order they end.
TEST_F(SandboxPython, KeepsManyApart) {
  std::vector<Sandbox::Pending> pending;
  for (int i = 0; i < 12; ++i)
    pending.push_back(
        sandbox().submit(python("print(int(input()) + " + std::to_string(i) + ")", {"100", "200", "300"})));
  for (int i = 0; i < 12; ++i) {
    const ProgramResult result = sandbox().wait(pending[static_cast<std::size_t>(i)]);
    ASSERT_EQ(result.runs.size(), 3U);
    for (int k = 0; k < 3; ++k)
      EXPECT_EQ(result.runs[static_cast<std::size_t>(k)].output, std::to_string(100 * (k + 1) + i) + "\n");
  }
}

// A program without inputs has a result at once.
TEST_F(SandboxPython, HasNothingToRun) { EXPECT_TRUE(sandbox().run(python("", {})).runs.empty()); }

// A helper that dies is an error of everything that waits for it, and of what comes later; nobody waits for ever.
TEST_F(SandboxPython, TellsThatItsHelperDied) {
  Sandbox own({.helper = ATHANOR_SANDBOX_HELPER, .slots = 1});
  const Sandbox::Pending pending = own.submit(python("import time\ntime.sleep(1000)"));
  kill(own.helper_process(), SIGKILL);
  EXPECT_THROW(own.wait(pending), Error);
  EXPECT_THROW(own.submit(python("print(1)")), Error);
}

// C++ is compiled once and run with every input; what does not compile says why.
TEST(SandboxCpp, CompilesAndRuns) {
  if (cpp_compiler_path().empty()) GTEST_SKIP() << "no C++ compiler in /usr/bin or /usr/local/bin";
  const ProgramResult good = sandbox().run(
      cpp("#include <iostream>\nint main() { int a; std::cin >> a; std::cout << a * a << '\\n'; }", {"3", "12"}));
  ASSERT_TRUE(good.compiled) << good.compilation.message;
  ASSERT_EQ(good.runs.size(), 2U);
  EXPECT_EQ(good.runs[0].output, "9\n");
  EXPECT_EQ(good.runs[1].output, "144\n");
  const ProgramResult bad = sandbox().run(cpp("int main() { return missing; }", {"", ""}));
  EXPECT_FALSE(bad.compiled);
  EXPECT_TRUE(bad.runs.empty());
  EXPECT_NE(bad.compilation.message.find("missing"), std::string::npos) << bad.compilation.message;
}

// Without its helper, or with one that cannot build walls, there is no sandbox.
TEST(SandboxRefusal, RefusesToStart) {
  EXPECT_THROW(Sandbox({.helper = "/nowhere/athanor_sandbox"}), ConfigError);
  EXPECT_THROW(Sandbox({.helper = "/bin/true"}), ConfigError);
}

// Messages come apart as they were put together, also when the socket cuts them.
TEST(SandboxMessages, AreWholeOrNotThere) {
  Request request{7, cpp("source\n", {"", std::string(3, '\0')})};
  request.program.limits.max_processes = 5;
  const std::string one = frame(request);
  std::string bytes = one.substr(0, one.size() - 1);
  EXPECT_EQ(take_frame(bytes), std::nullopt);
  bytes += one.back();
  bytes += one;
  const Request read = parse_request(take_frame(bytes).value());
  EXPECT_EQ(bytes, one);
  EXPECT_EQ(read.id, 7U);
  EXPECT_EQ(read.program.kind, ProgramKind::cpp);
  EXPECT_EQ(read.program.source, "source\n");
  EXPECT_EQ(read.program.inputs, request.program.inputs);
  EXPECT_EQ(read.program.limits, request.program.limits);
  EXPECT_THROW(parse_request("short"), Error);
}

}  // namespace
}  // namespace athanor
