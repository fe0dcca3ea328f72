// main of an MPI test program. Exit status 1 on every rank when a test failed on any.
#include <gtest/gtest.h>

#include <cstdio>
#include <exception>

#include "parallel/mpi/mpi_session.hpp"
#include "tests/support/rank_listener.hpp"

int main(int argc, char** argv) {
  athanor::MpiSession mpi(argc, argv);
  try {
    testing::InitGoogleTest(&argc, argv);
    athanor::testing::RankListener listener(athanor::HostGroup::world());
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(&listener);
    const int own_status = RUN_ALL_TESTS();
    listeners.Release(&listener);
    return listener.failed() || own_status != 0 ? 1 : 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "[rank %d] %s\n", mpi.rank(), error.what());
    std::fflush(stderr);
    athanor::MpiSession::abort(1);
  }
}
