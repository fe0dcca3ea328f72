#include "jobs/environment.hpp"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "parallel/collective_log.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

void set_threads(std::int64_t wanted, HostGroup& world) {
  std::int64_t ranks_here = 0;
  for (const std::string& host : world.all_gather(world.host_name())) ranks_here += host == world.host_name() ? 1 : 0;
  if (wanted > 0)
    omp_set_num_threads(static_cast<int>(wanted));
  else if (std::getenv("OMP_NUM_THREADS") == nullptr)
    omp_set_num_threads(std::max(1, omp_get_num_procs() / static_cast<int>(ranks_here)));
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
    if (log == nullptr || fault->rank >= mesh.size(Axis::world) || !talks_along(mesh, fault->axis))
      throw ConfigError(fmt::format(
          "parallel.fault = {}: there is no rank {} that talks along {} in this layout of {} ranks; choose a rank "
          "below "
          "{} and one of{}",
          text, fault->rank, fault->axis, mesh.size(Axis::world), mesh.size(Axis::world), talking_axes(mesh)));
  }
  if (log != nullptr) log->set_fault(std::move(fault));
}

}  // namespace

Environment::Environment(const JobOptions& options, HostGroup& world)
    : ops(make_backend(options.run.device)), compute(ops->make_stream()), comm(ops->make_stream()) {
  set_threads(options.run.threads, world);
  const MeshShape shape{.pp = options.parallel.pp,
                        .dp = options.parallel.dp,
                        .cp = options.parallel.cp,
                        .tp = options.parallel.tp,
                        .ep = options.parallel.ep};
  mesh = std::make_unique<ProcessMesh>(world, shape.resolved(world.size()), *ops, options.parallel.check_collectives);
  set_fault(options.parallel.fault, *mesh, world.log());
}

}  // namespace athanor
