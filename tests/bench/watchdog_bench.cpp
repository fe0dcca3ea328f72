// What the watchdog and its records cost: nanoseconds a recorded call takes beside the call itself, and the share of
// one core that the watching thread takes. One rank, no launcher:  build/tests/bench/watchdog_bench
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "parallel/host_group.hpp"
#include "parallel/mpi/mpi_session.hpp"
#include "parallel/watchdog.hpp"
#include "src/base/stopwatch.hpp"

namespace athanor {
namespace {

double process_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

/// Of the best of some rounds: others have the machine too.
double nanoseconds_a_call(CollectiveLog& log) {
  constexpr int kCalls = 200000, kRounds = 10;
  const GroupMembers* members = log.members_of({0});
  double best = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    const auto begin = Clock::now();
    for (int i = 0; i < kCalls; ++i) {
      const CollectiveLog::Call call(&log, {.operation = Operation::all_reduce,
                                            .group = "data",
                                            .number = i,
                                            .dtype = DType::f32,
                                            .count = 4096,
                                            .members = members});
    }
    best = std::min(best, seconds_since(begin) * 1e9 / kCalls);
  }
  return best;
}

}  // namespace
}  // namespace athanor

int main(int argc, char** argv) {
  using namespace athanor;
  MpiSession session(argc, argv);
  const HostGroup world = HostGroup::world();
  CollectiveLog log(world);
  log.deadlines().set({.floor = 60.0, .ceiling = 1800.0, .factor = 10.0});
  fmt::print("a recorded call: {:.0f} ns\n", nanoseconds_a_call(log));
  const Watchdog watchdog(log, world.host_name(), [] { return false; });
  const double before = process_seconds();
  constexpr double kSeconds = 5.0;
  std::this_thread::sleep_for(std::chrono::duration<double>(kSeconds));
  fmt::print("the watching thread: {:.4f} % of a core\n", 100.0 * (process_seconds() - before) / kSeconds);
  return 0;
}
