#include "parallel/pipeline/make_schedules.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <deque>
#include <numeric>

#include "src/base/error.hpp"

namespace athanor {
namespace {

void require(std::string_view name, std::string_view what, int found, int least) {
  if (found < least)
    throw ConfigError(fmt::format("schedule {}: {} = {}; wanted at least {}", name, what, found, least));
}

/// A schedule without actions; chunk c on rank owner(c).
template <class Owner>
PipelineSchedule blank(std::string name, int pp, int chunks, int micro_batches, Owner owner) {
  require(name, "ranks", pp, 1);
  require(name, "micro_batches", micro_batches, 1);
  PipelineSchedule schedule{std::move(name), pp, chunks, micro_batches, {}, {}};
  for (int chunk = 0; chunk < chunks; ++chunk) schedule.chunk_rank.push_back(owner(chunk));
  schedule.rank_programs.resize(static_cast<std::size_t>(pp));
  return schedule;
}

PipelineSchedule one_chunk_a_rank(std::string name, int pp, int micro_batches) {
  return blank(std::move(name), pp, pp, micro_batches, [](int chunk) { return chunk; });
}

std::vector<Action>& program_of(PipelineSchedule& schedule, int rank) {
  return schedule.rank_programs[static_cast<std::size_t>(rank)];
}

/// Sizes of the groups of micro-batches that go through a chunk together. All of `group` but a shorter last one; where
/// that one is shorter than the pipeline, its micro-batches join the first groups.
std::vector<int> group_sizes(int micro_batches, int group, int pp) {
  std::vector<int> sizes(static_cast<std::size_t>(micro_batches / group), group);
  const int rest = micro_batches % group;
  if (rest == 0) return sizes;
  if (sizes.empty() || rest >= pp)
    sizes.push_back(rest);
  else
    for (int i = 0; i < rest; ++i) ++sizes[static_cast<std::size_t>(i) % sizes.size()];
  return sizes;
}

/// The program of one rank of a V while it is written down. "First half": going down, chunk `rank`; second half: coming
/// back up, chunk 2R-1-rank.
class VProgram {
 public:
  VProgram(std::vector<Action>& program, int ranks, int rank) : program_(program), chunk_{rank, 2 * ranks - 1 - rank} {}

  void forward(std::size_t half) { program_.push_back({Phase::F, chunk_[half], forwards_[half]++}); }
  void backward(std::size_t half) { program_.push_back({Phase::B, chunk_[half], backwards_[half]++}); }
  /// I now, W when weight() comes to it.
  void backward_input(std::size_t half) {
    program_.push_back({Phase::I, chunk_[half], backwards_[half]});
    waiting_.push_back({Phase::W, chunk_[half], backwards_[half]++});
  }
  void weight() {
    program_.push_back(waiting_.front());
    waiting_.pop_front();
  }
  void pair(std::size_t forward_half, std::size_t backward_half) {
    program_.push_back({Phase::FB, chunk_[forward_half], forwards_[forward_half]++, chunk_[backward_half],
                        backwards_[backward_half]++});
  }

 private:
  std::vector<Action>& program_;
  std::array<int, 2> chunk_, forwards_{}, backwards_{};
  std::deque<Action> waiting_;
};

}  // namespace

PipelineSchedule make_gpipe(int pp, int micro_batches) {
  PipelineSchedule schedule = one_chunk_a_rank("gpipe", pp, micro_batches);
  for (int rank = 0; rank < pp; ++rank) {
    auto& program = program_of(schedule, rank);
    for (int m = 0; m < micro_batches; ++m) program.push_back({Phase::F, rank, m});
    for (int m = 0; m < micro_batches; ++m) program.push_back({Phase::B, rank, m});
  }
  return schedule;
}

PipelineSchedule make_1f1b(int pp, int micro_batches) {
  PipelineSchedule schedule = one_chunk_a_rank("1f1b", pp, micro_batches);
  for (int rank = 0; rank < pp; ++rank) {
    auto& program = program_of(schedule, rank);
    const int warm_up = std::min(pp - rank - 1, micro_batches);
    for (int m = 0; m < warm_up; ++m) program.push_back({Phase::F, rank, m});
    for (int m = 0; m < micro_batches; ++m) {
      if (warm_up + m < micro_batches) program.push_back({Phase::F, rank, warm_up + m});
      program.push_back({Phase::B, rank, m});
    }
  }
  return schedule;
}

PipelineSchedule make_interleaved(int pp, int micro_batches, int virtual_chunks, int group_size) {
  require("interleaved", "virtual_chunks", virtual_chunks, 1);
  PipelineSchedule schedule =
      blank("interleaved", pp, pp * virtual_chunks, micro_batches, [pp](int chunk) { return chunk % pp; });
  if (group_size == 0) group_size = pp;
  require("interleaved", "group_size", group_size, pp);

  // The order of units (local chunk, micro-batch): a group through one chunk, then the same group through the next.
  const std::vector<int> sizes = group_sizes(micro_batches, group_size, pp);
  std::vector<std::pair<int, int>> units;
  int first = 0;
  for (const int size : sizes) {
    for (int local = 0; local < virtual_chunks; ++local)
      for (int m = first; m < first + size; ++m) units.emplace_back(local, m);
    first += size;
  }
  const int total = static_cast<int>(units.size());
  const int longest = *std::max_element(sizes.begin(), sizes.end());
  for (int rank = 0; rank < pp; ++rank) {
    auto& program = program_of(schedule, rank);
    const auto forward = [&](int k) {
      const auto [local, m] = units[static_cast<std::size_t>(k)];
      program.push_back({Phase::F, local * pp + rank, m});
    };
    const auto backward = [&](int k) {
      const auto [local, m] = units[static_cast<std::size_t>(k)];
      program.push_back({Phase::B, (virtual_chunks - 1 - local) * pp + rank, m});
    };
    const int warm_up = std::min(total, 2 * (pp - rank - 1) + (virtual_chunks - 1) * longest);
    for (int k = 0; k < warm_up; ++k) forward(k);
    for (int k = 0; k < total; ++k) {
      if (warm_up + k < total) forward(warm_up + k);
      backward(k);
    }
  }
  return schedule;
}

PipelineSchedule make_zb1(int pp, int micro_batches) {
  PipelineSchedule schedule = one_chunk_a_rank("zb1", pp, micro_batches);
  for (int rank = 0; rank < pp; ++rank) {
    auto& program = program_of(schedule, rank);
    const int warm_up = std::min(pp - rank - 1, micro_batches);
    int weights = 0;
    for (int m = 0; m < warm_up; ++m) program.push_back({Phase::F, rank, m});
    for (int m = 0; m < micro_batches; ++m) {
      const bool cool_down = warm_up + m >= micro_batches;
      if (!cool_down) program.push_back({Phase::F, rank, warm_up + m});
      program.push_back({Phase::I, rank, m});
      if (cool_down || m >= rank) program.push_back({Phase::W, rank, weights++});
    }
    while (weights < micro_batches) program.push_back({Phase::W, rank, weights++});
  }
  return schedule;
}

PipelineSchedule make_dualpipev(int pp, int micro_batches) {
  require("dualpipev", "ranks", pp, 1);
  // On one rank nothing has to be filled before the pairs begin.
  require("dualpipev", "micro_batches", micro_batches, pp == 1 ? 1 : 2 * pp);
  PipelineSchedule schedule =
      blank("dualpipev", pp, 2 * pp, micro_batches, [pp](int chunk) { return std::min(chunk, 2 * pp - 1 - chunk); });
  for (int rank = 0; rank < pp; ++rank) {
    VProgram program(program_of(schedule, rank), pp, rank);
    const int below = pp - rank - 1;  // ranks nearer to the turn of the V
    for (int i = 0; i < 2 * below; ++i) program.forward(0);
    for (int i = 0; i < rank + 1; ++i) {
      program.forward(0);
      program.forward(1);
    }
    for (int i = 0; i < below; ++i) {
      program.backward_input(1);
      program.weight();
      program.forward(1);
    }
    for (int i = 0; i < micro_batches - 2 * pp + rank + 1; ++i) {
      if (i == 0 && below == 0) {  // at the turn the first pair would only wait: apart they end sooner
        program.forward(0);
        program.backward(1);
      } else {
        program.pair(0, 1);
      }
      program.pair(1, 0);
    }
    for (int i = 0; i < below; ++i) {
      program.backward(1);
      program.pair(1, 0);
    }
    // From the middle of this loop on W is put off: the other ranks wait for I only.
    const int middle = (rank + 1) / 2;
    const int first_apart = rank % 2 == 1 ? middle : middle + 1;
    for (int i = 0; i < rank + 1; ++i) {
      i < first_apart ? program.backward(1) : program.backward_input(1);
      i < middle ? program.backward(0) : program.backward_input(0);
    }
    for (int i = 0; i < below; ++i) {
      program.weight();
      program.backward_input(0);
    }
    for (int i = 0; i < rank + 1; ++i) program.weight();
  }
  return schedule;
}

const std::vector<std::string>& schedule_names() {
  static const std::vector<std::string> kNames = {"gpipe", "1f1b", "interleaved", "zb1", "dualpipev"};
  return kNames;
}

PipelineSchedule make_schedule(std::string_view name, int pp, int micro_batches, int virtual_chunks) {
  if (name == "interleaved") return make_interleaved(pp, micro_batches, virtual_chunks == 0 ? 2 : virtual_chunks);
  if (std::find(schedule_names().begin(), schedule_names().end(), name) == schedule_names().end())
    throw ConfigError(fmt::format("there is no schedule '{}'; known are {}", name, fmt::join(schedule_names(), ", ")));
  const int own = name == "dualpipev" ? 2 : 1;
  if (virtual_chunks != 0 && virtual_chunks != own)
    throw ConfigError(
        fmt::format("schedule {}: virtual_chunks = {}; it has {} chunk{} a rank (any number: interleaved)", name,
                    virtual_chunks, own, own == 1 ? "" : "s"));
  if (name == "gpipe") return make_gpipe(pp, micro_batches);
  if (name == "1f1b") return make_1f1b(pp, micro_batches);
  if (name == "zb1") return make_zb1(pp, micro_batches);
  return make_dualpipev(pp, micro_batches);
}

}  // namespace athanor
