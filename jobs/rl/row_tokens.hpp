// The length of the rows in which completions are packed.
#pragma once

#include "io/options/job_options.hpp"

namespace athanor {

inline std::int64_t row_tokens_of(const JobOptions& options) {
  return options.rl.row_tokens > 0 ? options.rl.row_tokens : options.data.sequence_length;
}

}  // namespace athanor
