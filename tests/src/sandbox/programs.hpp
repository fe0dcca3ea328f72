// Short ways to run a program in the sandbox of these tests.
#pragma once

#include <gtest/gtest.h>

#include "src/sandbox/sandbox.hpp"
#include "src/sandbox/system_programs.hpp"

namespace athanor {

/// One helper for all tests of the process: starting it tries all escapes, which takes its time.
inline Sandbox& sandbox() {
  static Sandbox shared({.helper = ATHANOR_SANDBOX_HELPER, .slots = 2});
  return shared;
}

inline Program python(std::string source, std::vector<std::string> inputs = {""}) {
  return {ProgramKind::python, std::move(source), std::move(inputs), {}};
}
inline Program cpp(std::string source, std::vector<std::string> inputs = {""}) {
  return {ProgramKind::cpp, std::move(source), std::move(inputs), {}};
}

inline ProgramRun run_one(Program program) { return sandbox().run(std::move(program)).runs.at(0); }

/// Tests that need Python say aloud that they did not run.
class PythonTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (python_path().empty()) GTEST_SKIP() << "no python3 in /usr/bin or /usr/local/bin (jobs/setup.sh installs it)";
  }
};

}  // namespace athanor
