#include "parallel/message_speed.hpp"

#include <mpi.h>

#include <algorithm>
#include <limits>

#include "src/base/stopwatch.hpp"

namespace athanor {
namespace {

/// Whom `rank` meets in `round` of a tournament of `ranks` (even) players; ranks - 1 rounds in all.
int opponent(int rank, int round, int ranks) {
  const int others = ranks - 1;
  if (rank == others) {  // stands still and meets who would meet himself
    for (int r = 0; r < others; ++r)
      if ((2 * r) % others == round) return r;
  }
  const int found = ((round - rank) % others + others) % others;
  return found == rank ? others : found;
}

/// Seconds of the fastest way there and back.
double round_trip(const HostGroup& group, int peer, std::vector<std::byte>& buffer, int bytes, int repeats) {
  double best = std::numeric_limits<double>::max();
  const bool first = group.rank() < peer;
  for (int i = 0; i <= repeats; ++i) {  // the first warms up
    const auto begin = Clock::now();
    const auto send = [&] { MPI_Send(buffer.data(), bytes, MPI_BYTE, peer, 0, group.comm()); };
    const auto receive = [&] { MPI_Recv(buffer.data(), bytes, MPI_BYTE, peer, 0, group.comm(), MPI_STATUS_IGNORE); };
    if (first) send();
    receive();
    if (!first) send();
    if (i > 0) best = std::min(best, seconds_since(begin));
  }
  return best;
}

}  // namespace

std::vector<MessageSpeed> measure_messages(HostGroup& group, std::int64_t bytes) {
  constexpr int kRepeats = 5;
  std::vector<std::byte> buffer(static_cast<std::size_t>(bytes));
  std::vector<MessageSpeed> speeds;
  const int players = group.size() + group.size() % 2;
  for (int round = 0; round + 1 < players; ++round) {
    group.barrier();
    const int peer = opponent(group.rank(), round, players);
    if (peer >= group.size()) continue;  // an odd one rests
    const double empty = round_trip(group, peer, buffer, 0, kRepeats);
    const double full = round_trip(group, peer, buffer, static_cast<int>(bytes), kRepeats);
    speeds.push_back({peer, static_cast<double>(bytes) / (full / 2.0), empty / 2.0});
  }
  return speeds;
}

}  // namespace athanor
