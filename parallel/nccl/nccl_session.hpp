// NCCL in this job: the communicator of all ranks, from which those of the axes are split, and the watch over them.
// Law: made after the MpiSession and before any tensor travels, dies after every NcclCommunicator and before MPI ends.
// One thread of a rank makes all calls, in the same order on all ranks of a group. Where a session exists, every group
// of the mesh uses it: tensors of the device then never travel by MPI, whose messages carry host memory only, so that
// NCCL and MPI cannot wait for each other on the device.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "parallel/host_group.hpp"
#include "parallel/nccl/nccl_link.hpp"
#include "parallel/nccl/nccl_watch.hpp"
#include "parallel/transport_options.hpp"

namespace athanor {

struct NcclSettings {
  double open_seconds = 300.0;  ///< that a communicator may take to open
  double call_seconds = 600.0;  ///< that a call may take to be enqueued, and to run on the device
  RankSums sums = RankSums::rank_order;
};

class NcclSession {
 public:
  /// Collective over `world`. @param give_up  see NcclWatch.
  /// @throws CommError when the communicator does not open: two ranks on one GPU, no route between machines.
  NcclSession(NcclApi& api, const HostGroup& world, const NcclSettings& settings,
              std::function<void(const std::string&)> give_up = end_process,
              double grace_seconds = NcclWatch::kGraceSeconds);
  ~NcclSession();
  NcclSession(const NcclSession&) = delete;
  NcclSession& operator=(const NcclSession&) = delete;

  /// The communicator of `group`. Collective over all ranks of the session; a rank alone in its group gets null.
  std::unique_ptr<NcclLink> split(const HostGroup& group, const std::string& name);
  /// Begins to open a communicator that one of its members made the id for. Not collective: its members call.
  std::unique_ptr<NcclLink> open(NcclMembers members, const NcclId& id);

  NcclApi& api() { return api_; }
  NcclWatch& watch() { return watch_; }
  const NcclSettings& settings() const { return settings_; }
  /// This rank in the job.
  int world_rank() const { return rank_; }

  /// Says why and ends this process with status 1; the launcher then ends the job.
  [[noreturn]] static void end_process(const std::string& why);

 private:
  NcclApi& api_;
  NcclSettings settings_;
  int rank_, size_;
  std::unique_ptr<NcclLink> world_;
  NcclWatch watch_;
};

/// An id as text for host messages, and back.
std::string to_text(const NcclId& id);
NcclId id_from_text(const std::string& text);

}  // namespace athanor
