#include "jobs/environment.hpp"

#include <omp.h>

#include <algorithm>
#include <cstdlib>

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
}

}  // namespace athanor
