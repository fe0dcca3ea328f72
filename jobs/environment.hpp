// What a command computes with: back end, streams, mesh. Made from the options, owned by the command, dead before MPI
// ends.
#pragma once

#include <memory>
#include <string>

#include "io/options/job_options.hpp"
#include "parallel/process_mesh.hpp"
#include "src/backend/backend.hpp"

namespace athanor {

class NcclApi;
class NcclSession;

struct Environment {
  /// Collective. Sets the number of OpenMP threads: run.threads, else OMP_NUM_THREADS, else the node's cores over its
  /// ranks.
  Environment(const JobOptions& options, HostGroup& world);
  ~Environment();

  std::unique_ptr<Backend> ops;
  std::unique_ptr<Stream> compute, comm;
  std::string transport;  ///< by what tensors travel between ranks, and why; empty for a rank alone
  std::unique_ptr<NcclApi> nccl;
  std::unique_ptr<NcclSession> nccl_session;
  std::unique_ptr<ProcessMesh> mesh;
};

}  // namespace athanor
