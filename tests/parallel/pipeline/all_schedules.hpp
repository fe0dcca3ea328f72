// Every generator over small shapes, for tests that hold for all schedules.
#pragma once

#include <vector>

#include "parallel/pipeline/make_schedules.hpp"

namespace athanor::testing {

inline std::vector<PipelineSchedule> all_schedules(const std::vector<int>& pipeline_sizes,
                                                   const std::vector<int>& micro_batch_counts) {
  std::vector<PipelineSchedule> all;
  for (const int pp : pipeline_sizes)
    for (const int m : micro_batch_counts) {
      all.push_back(make_gpipe(pp, m));
      all.push_back(make_1f1b(pp, m));
      all.push_back(make_zb1(pp, m));
      for (const int v : {1, 2, 3, 4}) all.push_back(make_interleaved(pp, m, v));
      all.push_back(make_interleaved(pp, m, 2, pp + 1));
      if (m >= 2 * pp) all.push_back(make_dualpipev(pp, m));
    }
  return all;
}

/// Chunks placed in no pattern on two ranks, I and W apart, a pair: made by hand.
inline PipelineSchedule odd_schedule() {
  return parse_schedule(
      "schedule odd ranks=2 chunks=5 micro_batches=2 placement=0,0,1,0,1\n"
      "rank 0: 0F0 1F0 0F1 3F0 1F1 3I0 3F1 1I0 3I1 3W0 1W0 0B0 1B1 3W1 0I1 0W1\n"
      "rank 1: 2F0 4F0 4I0 2F1 4W0 4F1&2B0 4B1 2B1\n",
      "all_schedules.hpp");
}

inline std::string shape_of(const PipelineSchedule& schedule) {
  return schedule.name + " p" + std::to_string(schedule.num_ranks) + " c" + std::to_string(schedule.num_chunks) + " m" +
         std::to_string(schedule.num_micro_batches);
}

}  // namespace athanor::testing
