#include "tests/support/rank_listener.hpp"

#include <chrono>
#include <cstdio>
#include <thread>

#include "parallel/mpi/mpi_session.hpp"
#include "src/base/rng.hpp"

namespace athanor::testing {
namespace {
constexpr std::chrono::seconds kPatience{20};

std::string full_name(const ::testing::TestInfo& test) {
  return std::string(test.test_suite_name()) + "." + test.name();
}
}  // namespace

void RankListener::OnTestProgramStart(const ::testing::UnitTest& unit_test) {
  if (group_.rank() == 0)
    std::printf("[==========] %d tests on %d ranks\n", unit_test.test_to_run_count(), group_.size());
}

void RankListener::OnTestStart(const ::testing::TestInfo& test) {
  messages_.clear();
  const std::string name = full_name(test);
  group_.check_same("the test to run (shuffled differently?)", stable_hash(name));
  if (group_.rank() == 0) std::printf("[ RUN      ] %s\n", name.c_str());
  std::fflush(stdout);
}

void RankListener::OnTestPartResult(const ::testing::TestPartResult& result) {
  if (result.passed()) return;
  const char* file = result.file_name() ? result.file_name() : "(no file)";
  messages_ += std::string(file) + ":" + std::to_string(result.line_number()) + ": " + result.message() + "\n";
}

void RankListener::wait_for_others(const std::string& name) {
  MPI_Request request = MPI_REQUEST_NULL;
  mpi::check(MPI_Ibarrier(group_.comm(), &request), "MPI_Ibarrier");
  const auto start = std::chrono::steady_clock::now();
  for (int done = 0;;) {
    mpi::check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Test");
    if (done) return;
    if (std::chrono::steady_clock::now() - start > kPatience) {
      std::fprintf(stderr, "[  FAILED  ] %s: rank %d failed and the others do not come out of the test:\n%s\n",
                   name.c_str(), group_.rank(), messages_.c_str());
      std::fflush(stderr);
      MpiSession::abort(1);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void RankListener::OnTestEnd(const ::testing::TestInfo& test) {
  const std::string name = full_name(test);
  const bool failed_here = test.result()->Failed();
  if (failed_here)
    wait_for_others(name);
  else
    mpi::check(
        [&] {
          MPI_Request request = MPI_REQUEST_NULL;
          const int code = MPI_Ibarrier(group_.comm(), &request);
          return code == MPI_SUCCESS ? MPI_Wait(&request, MPI_STATUS_IGNORE) : code;
        }(),
        "MPI_Ibarrier");

  const bool any_failed = group_.any(failed_here);
  const bool all_skipped = group_.all_agree(test.result()->Skipped());
  const auto messages = group_.gather(messages_, 0);
  ++(any_failed ? num_failed_ : all_skipped ? num_skipped_ : num_passed_);
  if (group_.rank() != 0) return;
  for (int rank = 0; rank < group_.size(); ++rank)
    if (const auto& text = messages[static_cast<std::size_t>(rank)]; !text.empty())
      std::printf("---- rank %d\n%s", rank, text.c_str());
  std::printf("%s %s (%lld ms)\n",
              any_failed    ? "[  FAILED  ]"
              : all_skipped ? "[  SKIPPED ]"
                            : "[       OK ]",
              name.c_str(), static_cast<long long>(test.result()->elapsed_time()));
  std::fflush(stdout);
}

void RankListener::OnTestProgramEnd(const ::testing::UnitTest&) {
  if (group_.rank() != 0) return;
  std::printf("[==========] %d passed, %d failed, %d skipped on %d ranks\n", num_passed_, num_failed_, num_skipped_,
              group_.size());
  if (num_skipped_ > 0 && num_passed_ + num_failed_ == 0) std::printf("ATHANOR_ALL_SKIPPED\n");
  std::fflush(stdout);
}

}  // namespace athanor::testing
