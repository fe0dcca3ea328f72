// The measurements of `athanor bench`. Law: each works on random tokens, prints JSON lines on rank 0, and reports
// shares of what this machine can do, measured in the same process; a bare time says little about a program.
#pragma once

#include <cstdint>
#include <string>

#include "io/options/job_options.hpp"
#include "parallel/host_group.hpp"

namespace athanor {

struct BenchOptions {
  std::int64_t steps = 5;       ///< timed, after two to warm up
  std::int64_t saves = 3;       ///< checkpoint: after the first
  std::string device = "cuda";  ///< gpu
};

/// Training speed against the matrix-product peak, memory against its estimate. Collective.
void bench_train(const BenchOptions& bench, const JobOptions& options, HostGroup& world);
/// What saving costs training, and write speed against a plain write of as many bytes. Collective. Writes below
/// run.folder and removes what it wrote.
void bench_checkpoint(const BenchOptions& bench, const JobOptions& options, HostGroup& world);

/// Speed of generation for reinforcement learning, against the matrix-product peak. Collective.
void bench_rollout(const BenchOptions& bench, const JobOptions& options, HostGroup& world);

/// Operations against the ceiling of their device, and messages between ranks by size. Collective.
/// @throws ConfigError where the device is not there.
void bench_gpu(const BenchOptions& bench, const JobOptions& options, HostGroup& world);

}  // namespace athanor
