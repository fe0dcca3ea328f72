// What one rank finds on its machine, and what stands out among all of them. Law: examine() looks, judge() thinks: the
// second is a function of what was found, so that faults can be made up in tests.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "parallel/host_group.hpp"

namespace athanor {

struct SlowestPeer {
  int rank = -1;  ///< -1: no peer was measured
  double bytes_per_second = 0.0;
};

struct RankHealth {
  std::string host;
  int cores = 0, threads = 1;              ///< cores this process may use; threads it would run
  double memory = 0.0, memory_free = 0.0;  ///< bytes of the machine
  double shared_memory_free = 0.0;         ///< bytes in /dev/shm
  double folder_free = 0.0;                ///< bytes where runs are to lie
  bool sees_folder = false;                ///< a file that rank 0 has written there is here, with its words
  double clock_seconds = 0.0;              ///< of the machine, right after a barrier
  std::string program;                     ///< build_identity()
  std::int64_t open_files = 0;             ///< that this process may have
  std::string sandbox;                     ///< why programs cannot be run safely; empty: they can
  std::vector<std::string> devices;        ///< beside the CPU
  double f32_flops = 0.0, bf16_flops = 0.0, copy_bytes_per_second = 0.0;  ///< 0: not measured
  SlowestPeer slowest_peer;
};

struct HealthOptions {
  std::string folder = ".";  ///< where runs are to lie
  bool all_ranks = false;    ///< every rank measures, and every pair of them; else rank 0 alone
  double outlier = 0.8;      ///< of the median: a rank or link below it stands out
};

/// Collective. @throws ConfigError when rank 0 cannot write into the folder.
RankHealth examine(HostGroup& world, const HealthOptions& options);

std::string to_text(const RankHealth& health);
RankHealth health_from_text(const std::string& text);

struct Finding {
  bool bad = false;  ///< a run would fail or suffer; else worth knowing
  std::string text;  ///< what was found, on which rank and host, and what to do
};

/// @param ranks  of all ranks, in their order
std::vector<Finding> judge(const std::vector<RankHealth>& ranks, const HealthOptions& options);

}  // namespace athanor
