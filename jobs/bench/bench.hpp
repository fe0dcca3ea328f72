// The measurements of `athanor bench`. Law: each trains on random tokens, prints one JSON line on rank 0, and reports
// shares of what this machine can do, measured in the same process; a bare time says little about a program.
#pragma once

#include <cstdint>

#include "io/options/job_options.hpp"
#include "parallel/host_group.hpp"

namespace athanor {

struct BenchOptions {
  std::int64_t steps = 5;  ///< timed, after two to warm up
  std::int64_t saves = 3;  ///< checkpoint: after the first
};

/// Training speed against the matrix-product peak, memory against its estimate. Collective.
void bench_train(const BenchOptions& bench, const JobOptions& options, HostGroup& world);
/// What saving costs training, and write speed against a plain write of as many bytes. Collective. Writes below
/// run.folder and removes what it wrote.
void bench_checkpoint(const BenchOptions& bench, const JobOptions& options, HostGroup& world);

/// Speed of generation for reinforcement learning, against the matrix-product peak. Collective.
void bench_rollout(const BenchOptions& bench, const JobOptions& options, HostGroup& world);

}  // namespace athanor
