// By what tensors travel between ranks, and which GPU a rank has. Law: nothing is chosen in silence: `why` goes to the
// start-up line, and a transport that was asked for is used or refused. The choice is the same on all ranks.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "parallel/host_group.hpp"
#include "parallel/transport_options.hpp"
#include "src/backend/device.hpp"

namespace athanor {

struct TransportChoice {
  Transport transport = Transport::mpi;
  std::string why;  ///< "mpi (the tensors of device cpu lie in host memory)"
};

/// The rule, by itself. @param gpu_of_rank  which physical GPU each rank has, machine included; empty texts on a CPU.
/// @param no_nccl  empty, or why this build has no NCCL.
/// @throws ConfigError when `wanted` cannot serve, with what would.
TransportChoice choose_transport(Transport wanted, Device device, std::span<const std::string> gpu_of_rank,
                                 const std::string& no_nccl);

/// The same for the ranks of `world`. Collective. @throws ConfigError also where ranks have devices of other kinds.
TransportChoice choose_transport(Transport wanted, Device device, HostGroup& world);

/// The device of the rank that is number `local_rank` on its machine: "cuda" becomes "cuda:N", the GPUs of `offered` in
/// turn; every other name stays as it is.
std::string device_of_rank(const std::string& wanted, int local_rank, const std::vector<std::string>& offered);

}  // namespace athanor
