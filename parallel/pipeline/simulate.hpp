// A clock run of a schedule: when each action would begin and end if every action took the given time.
// Law: a rank runs its actions in order, each as soon as its inputs are there; what an action makes is there when the
// action ends, and one send later on another rank. Times are in any one unit.
#pragma once

#include <vector>

#include "parallel/pipeline/schedule.hpp"

namespace athanor {

/// How long actions take; B takes i + w.
struct ActionTimes {
  double f = 1.0, i = 1.0, w = 1.0;
  double fb = 3.0;    ///< an overlapped pair
  double send = 0.0;  ///< from the end of an action until another rank can use what it made

  double of(Phase phase) const;
};

struct Interval {
  double begin = 0.0, end = 0.0;
};

struct ScheduleTimes {
  std::vector<std::vector<Interval>> actions;  ///< by rank, beside rank_programs
  double makespan = 0.0;                       ///< from 0 to the last end
  std::vector<double> busy;                    ///< by rank
  std::vector<int> peak_activations;           ///< by rank, see validate.hpp

  /// The pipeline bubble of a rank: time in which it does nothing.
  double idle(int rank) const { return makespan - busy[static_cast<std::size_t>(rank)]; }
  /// Of the rank that idles most.
  double worst_idle() const;
  /// Idle share of all ranks' time, in [0, 1).
  double idle_share() const;
};

/// @throws ConfigError when the schedule is not valid (see validate), or a time is negative or no number.
ScheduleTimes simulate(const PipelineSchedule& schedule, const ActionTimes& times);

}  // namespace athanor
