// What a command computes with: back end, streams, mesh. Made from the options, owned by the command, dead before MPI
// ends.
#pragma once

#include <memory>

#include "io/options/job_options.hpp"
#include "parallel/process_mesh.hpp"
#include "src/backend/backend.hpp"

namespace athanor {

struct Environment {
  /// Collective. Sets the number of OpenMP threads: run.threads, else OMP_NUM_THREADS, else the node's cores over its
  /// ranks.
  Environment(const JobOptions& options, HostGroup& world);

  std::unique_ptr<Backend> ops;
  std::unique_ptr<Stream> compute, comm;
  std::unique_ptr<ProcessMesh> mesh;
};

}  // namespace athanor
