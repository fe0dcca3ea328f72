// Which schedule a run uses, for whatever number of micro-batches a step has. Law: the placement of chunks does not
// depend on the number of micro-batches, so the model is built once.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "parallel/pipeline/schedule.hpp"

namespace athanor {

struct SchedulePlan {
  std::string name = "1f1b";                   ///< of a generator
  int virtual_chunks = 0;                      ///< chunks a rank; 0: as the schedule has them
  std::optional<PipelineSchedule> given = {};  ///< from a file: for its own number of micro-batches only

  /// @throws ConfigError when there is no such schedule for these numbers.
  PipelineSchedule make(int pp, int micro_batches) const;
  /// The pipeline rank of every chunk.
  std::vector<int> chunk_rank(int pp) const;
};

/// The plan of a schedule file, or of a generator when `file` is empty. @throws DataError, ConfigError
SchedulePlan schedule_plan(const std::string& name, int virtual_chunks, const std::string& file);

}  // namespace athanor
