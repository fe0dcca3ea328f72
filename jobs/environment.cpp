#include "jobs/environment.hpp"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "parallel/collective_log.hpp"
#include "parallel/nccl/nccl_library.hpp"
#include "parallel/nccl/nccl_session.hpp"
#include "parallel/transport.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

/// Ranks of this machine, and which of them this one is.
struct LocalRank {
  int number = 0, ranks = 0;
};

LocalRank local_rank(HostGroup& world) {
  LocalRank local;
  int rank = 0;
  for (const std::string& host : world.all_gather(world.host_name())) {
    if (host == world.host_name()) {
      if (rank == world.rank()) local.number = local.ranks;
      ++local.ranks;
    }
    ++rank;
  }
  return local;
}

void set_threads(std::int64_t wanted, int ranks_here) {
  if (wanted > 0)
    omp_set_num_threads(static_cast<int>(wanted));
  else if (std::getenv("OMP_NUM_THREADS") == nullptr)
    omp_set_num_threads(std::max(1, omp_get_num_procs() / ranks_here));
}

std::unique_ptr<Backend> backend_of_rank(const std::string& device, HostGroup& world) {
  return make_backend(device_of_rank(device, local_rank(world).number, available_devices()));
}

/// The names of what a rank may talk along in this layout.
std::string talking_axes(const ProcessMesh& mesh) {
  std::string names;
  for (const Axis axis : kAxes)
    if (mesh.size(axis) > 1) names += fmt::format(" {}", to_string(axis));
  return mesh.size(Axis::pp) > 1 ? names + " ends" : names;
}

bool talks_along(const ProcessMesh& mesh, const std::string& name) {
  const std::string names = talking_axes(mesh) + " ";
  return names.find(" " + name + " ") != std::string::npos;
}

/// Hands the fault that the options ask for to the log, which makes it.
void set_fault(const std::string& text, const ProcessMesh& mesh, CollectiveLog* log) {
  std::optional<Fault> fault;
  if (!text.empty()) {
    fault = parse_fault(text);
    const bool is_there = fault->axis.empty() || talks_along(mesh, fault->axis);
    if (log == nullptr || fault->rank >= mesh.size(Axis::world) || !is_there)
      throw ConfigError(fmt::format(
          "parallel.fault = {}: there is no rank {}{} in this layout of {} ranks; choose a rank below {} and one of{}",
          text, fault->rank, fault->axis.empty() ? "" : " that talks along " + fault->axis, mesh.size(Axis::world),
          mesh.size(Axis::world), talking_axes(mesh)));
  }
  if (log != nullptr) log->set_fault(std::move(fault));
}

}  // namespace

Environment::Environment(const JobOptions& options, HostGroup& world)
    : ops(backend_of_rank(options.run.device, world)), compute(ops->make_stream()), comm(ops->make_stream()) {
  set_threads(options.run.threads, local_rank(world).ranks);
  const ParallelOptions& parallel = options.parallel;
  const MeshShape shape{.pp = parallel.pp, .dp = parallel.dp, .cp = parallel.cp, .tp = parallel.tp, .ep = parallel.ep};
  MeshTransport mesh_transport;
  const TransportChoice choice = choose_transport(parallel.transport, ops->device(), world);
  mesh_transport.transport = choice.transport;
  if (world.size() > 1) transport = choice.why;
  if (choice.transport == Transport::nccl && world.size() > 1) {
    nccl = linked_nccl(ops->device().index);
    nccl_session = std::make_unique<NcclSession>(
        *nccl, world, NcclSettings{.call_seconds = parallel.nccl_timeout, .sums = parallel.nccl_sums});
    mesh_transport.session = nccl_session.get();
  }
  mesh = std::make_unique<ProcessMesh>(world, shape.resolved(world.size()), *ops, parallel.check_collectives,
                                       mesh_transport);
  set_fault(parallel.fault, *mesh, world.log());
}

Environment::~Environment() = default;

}  // namespace athanor
