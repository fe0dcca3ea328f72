// The Slurm job that this process runs in, if it does.
#pragma once

#include <optional>
#include <string_view>

namespace athanor {

/// Seconds until the job's time limit: from SLURM_JOB_END_TIME, else asked of squeue. Nothing outside a Slurm job,
/// without a limit, or when squeue does not answer within ten seconds, which is warned of. Not collective: for rank 0.
std::optional<double> seconds_left_in_batch_job();

/// "1-02:03:04", "02:03:04", "03:04" or "4", as squeue writes a time left; nothing for UNLIMITED, NOT_SET, INVALID.
std::optional<double> parse_slurm_duration(std::string_view text);

}  // namespace athanor
