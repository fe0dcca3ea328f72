#include "parallel/pipeline/simulate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "parallel/pipeline/validate.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

constexpr double kNotDone = -1.0;

void check(const ActionTimes& times) {
  const auto [f, i, w, fb, send] = times;
  for (const double time : {f, i, w, fb, send})
    if (!std::isfinite(time) || time < 0.0)
      throw ConfigError(fmt::format("schedule times: wanted numbers of at least 0; found f={} i={} w={} fb={} send={}",
                                    f, i, w, fb, send));
}

}  // namespace

double ActionTimes::of(Phase phase) const {
  switch (phase) {
    case Phase::F:
      return f;
    case Phase::I:
      return i;
    case Phase::W:
      return w;
    case Phase::B:
      return i + w;
    case Phase::FB:
      return fb;
  }
  return 0.0;
}

double ScheduleTimes::worst_idle() const { return makespan - *std::min_element(busy.begin(), busy.end()); }

double ScheduleTimes::idle_share() const {
  const double all = makespan * static_cast<double>(busy.size());
  return all > 0.0 ? 1.0 - std::accumulate(busy.begin(), busy.end(), 0.0) / all : 0.0;
}

ScheduleTimes simulate(const PipelineSchedule& schedule, const ActionTimes& times) {
  check(times);
  validate(schedule);
  const auto ranks = static_cast<std::size_t>(schedule.num_ranks);
  ScheduleTimes result{std::vector<std::vector<Interval>>(ranks), 0.0, std::vector<double>(ranks),
                       peak_activations(schedule)};
  PerPart<double> done(schedule, kNotDone);
  const auto owner = [&](const Part& part) { return schedule.chunk_rank[static_cast<std::size_t>(part.chunk)]; };

  // When the action can begin; kNotDone while an input has no time yet.
  const auto begin_of = [&](int rank, const Action& action) {
    const auto& before = result.actions[static_cast<std::size_t>(rank)];
    double begin = before.empty() ? 0.0 : before.back().end;
    for (const Part& part : parts_of(action))
      for (const Part& need : needs_of(part, schedule.num_chunks)) {
        if (part.phase == Phase::W && done[need] == kNotDone) continue;  // the I of the same B
        if (done[need] == kNotDone) return kNotDone;
        begin = std::max(begin, done[need] + (owner(need) == rank ? 0.0 : times.send));
      }
    return begin;
  };

  // The schedule is valid, so some rank can always go on until all are at their end.
  for (bool moved = true; moved;) {
    moved = false;
    for (int rank = 0; rank < schedule.num_ranks; ++rank) {
      auto& finished = result.actions[static_cast<std::size_t>(rank)];
      const auto& program = schedule.rank_programs[static_cast<std::size_t>(rank)];
      while (finished.size() < program.size()) {
        const Action& action = program[finished.size()];
        const double begin = begin_of(rank, action);
        if (begin == kNotDone) break;
        const double end = begin + times.of(action.phase);
        for (const Part& part : parts_of(action)) done[part] = end;
        finished.push_back({begin, end});
        result.busy[static_cast<std::size_t>(rank)] += end - begin;
        result.makespan = std::max(result.makespan, end);
        moved = true;
      }
    }
  }
  return result;
}

}  // namespace athanor
