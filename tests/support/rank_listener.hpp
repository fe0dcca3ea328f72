// Reports GoogleTest results of an MPI program: rank 0 prints, failures grouped by rank.
// Law: results are gathered in OnTestEnd only, which every rank enters for every test. A collective in OnTestPartResult
// would hang: only the ranks with something to report go there. A rank that failed and finds that the others do not
// arrive (they stand in a collective it left) prints what it knows and ends the job.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "parallel/host_group.hpp"

namespace athanor::testing {

class RankListener final : public ::testing::EmptyTestEventListener {
 public:
  explicit RankListener(HostGroup group) : group_(std::move(group)) {}

  void OnTestProgramStart(const ::testing::UnitTest& unit_test) override;
  void OnTestStart(const ::testing::TestInfo& test) override;
  void OnTestPartResult(const ::testing::TestPartResult& result) override;
  void OnTestEnd(const ::testing::TestInfo& test) override;
  void OnTestProgramEnd(const ::testing::UnitTest& unit_test) override;

  /// True when a test failed on any rank; the same on every rank.
  bool failed() const { return num_failed_ > 0; }

 private:
  void wait_for_others(const std::string& name);

  HostGroup group_;
  std::string messages_;  ///< of this rank in the present test
  int num_passed_ = 0, num_failed_ = 0, num_skipped_ = 0;
};

}  // namespace athanor::testing
