#include "parallel/transport.hpp"

#include <fmt/format.h>

#include <array>

#include "parallel/nccl/nccl_library.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

/// "ranks 0 and 2 share GPU 0000:1b:00.0 of node07", or nothing.
std::string shared_gpu(std::span<const std::string> gpu_of_rank) {
  for (std::size_t a = 0; a < gpu_of_rank.size(); ++a)
    for (std::size_t b = a + 1; b < gpu_of_rank.size(); ++b)
      if (gpu_of_rank[a] == gpu_of_rank[b]) return fmt::format("ranks {} and {} share {}", a, b, gpu_of_rank[a]);
  return {};
}

}  // namespace

std::string_view to_string(Transport transport) {
  constexpr std::array<std::string_view, 4> names = {"auto", "nccl", "staged", "mpi"};
  return names[static_cast<std::size_t>(transport)];
}

TransportChoice choose_transport(Transport wanted, Device device, std::span<const std::string> gpu_of_rank,
                                 const std::string& no_nccl) {
  const auto chosen = [&](Transport transport, const std::string& reason) {
    return TransportChoice{transport,
                           fmt::format("{} ({})", to_string(transport),
                                       wanted == Transport::automatic ? reason : "as parallel.transport says")};
  };
  const std::string name = to_string(device);
  if (device.is_cpu()) {
    if (wanted == Transport::nccl)
      throw ConfigError(fmt::format(
          "parallel.transport = nccl: NCCL moves the memory of GPUs, run.device is {}; choose mpi or auto", name));
    if (wanted == Transport::staged) return chosen(Transport::staged, {});
    return chosen(Transport::mpi, fmt::format("the tensors of device {} lie in host memory", name));
  }
  if (wanted == Transport::mpi)
    throw ConfigError(fmt::format(
        "parallel.transport = mpi: it sends host memory, run.device is {}; choose nccl, or staged, which copies to the "
        "host first",
        name));
  const std::string shared = shared_gpu(gpu_of_rank);
  if (wanted == Transport::nccl && !no_nccl.empty())
    throw ConfigError(fmt::format("parallel.transport = nccl: {}; or choose staged", no_nccl));
  if (wanted == Transport::nccl && !shared.empty())
    throw ConfigError(
        fmt::format("parallel.transport = nccl: {}, and NCCL wants a GPU for every rank; start as many "
                    "ranks as there are GPUs on a machine, or choose staged",
                    shared));
  if (wanted == Transport::staged) return chosen(Transport::staged, {});
  if (!shared.empty()) return chosen(Transport::staged, shared + ", which NCCL refuses");
  if (!no_nccl.empty()) return chosen(Transport::staged, no_nccl);
  return chosen(Transport::nccl, "every rank has a GPU of its own");
}

TransportChoice choose_transport(Transport wanted, Device device, HostGroup& world) {
  world.check_same("the kind of run.device", static_cast<std::uint64_t>(device.kind));
  std::string no_nccl;
  // A build is the same on all ranks, or MPI would not have started it; the reason of rank 0 serves all.
  if (!has_nccl(&no_nccl)) no_nccl = world.broadcast(no_nccl, 0);
  const std::string gpu =
      device.is_cpu() ? std::string() : fmt::format("GPU {} of {}", gpu_identity(device.index), world.host_name());
  return choose_transport(wanted, device, world.all_gather(gpu), no_nccl);
}

std::string device_of_rank(const std::string& wanted, int local_rank, const std::vector<std::string>& offered) {
  if (wanted != "cuda") return wanted;
  std::vector<std::string> gpus;
  for (const std::string& name : offered)
    if (name.starts_with("cuda:")) gpus.push_back(name);
  return gpus.empty() ? wanted : gpus[static_cast<std::size_t>(local_rank) % gpus.size()];
}

}  // namespace athanor
