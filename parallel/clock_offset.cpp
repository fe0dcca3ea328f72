#include "parallel/clock_offset.hpp"

#include <mpi.h>

#include <cmath>
#include <limits>

#include "parallel/mpi/mpi_session.hpp"
#include "src/base/stopwatch.hpp"

namespace athanor {
namespace {

constexpr int kRounds = 20;

ClockOffset ask_rank_0(MPI_Comm comm, const std::function<double()>& now) {
  ClockOffset best{0.0, std::numeric_limits<double>::max()};
  for (int round = 0; round < kRounds; ++round) {
    double there = 0.0;
    const double asked = now();
    mpi::check(MPI_Send(nullptr, 0, MPI_BYTE, 0, 0, comm), "MPI_Send to ask for the time");
    mpi::check(MPI_Recv(&there, 1, MPI_DOUBLE, 0, 0, comm, MPI_STATUS_IGNORE), "MPI_Recv of the time");
    const double told = now(), error = (told - asked) / 2.0;
    if (error < best.error) best = {there - (asked + told) / 2.0, error};
  }
  if (std::abs(best.seconds) <= best.error) best.seconds = 0.0;
  return best;
}

void answer(MPI_Comm comm, int rank, const std::function<double()>& now) {
  for (int round = 0; round < kRounds; ++round) {
    mpi::check(MPI_Recv(nullptr, 0, MPI_BYTE, rank, 0, comm, MPI_STATUS_IGNORE), "MPI_Recv of a question");
    const double time = now();
    mpi::check(MPI_Send(&time, 1, MPI_DOUBLE, rank, 0, comm), "MPI_Send of the time");
  }
}

}  // namespace

double monotonic_seconds() { return std::chrono::duration<double>(Clock::now().time_since_epoch()).count(); }

ClockOffset measure_clock_offset(const HostGroup& ranks, const std::function<double()>& now) {
  if (ranks.rank() != 0) return ask_rank_0(ranks.comm(), now);
  for (int rank = 1; rank < ranks.size(); ++rank) answer(ranks.comm(), rank, now);
  return {};
}

}  // namespace athanor
