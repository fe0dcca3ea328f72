// The ranks of a job as a grid, and the groups along its axes.
//
// Law of rank order: rank = ((pp_i * dp + dp_i) * cp + cp_i) * tp + tp_i: tp varies fastest, so that the ranks that
// talk most sit on one machine, and pp slowest. Experts cut the same dp*cp*tp ranks of a pipeline rank another way:
// rank within it = edp_i * ep + ep_i. Both grids share pp. The group of an axis holds the ranks that agree on all other
// digits of that axis's grid; its order is that of the digit. Source: Megatron-LM parallel_state.RankGenerator.
// Two more groups are digits too: `data` = dp*cp (the ranks with the same part of every dense layer) and `layer` =
// dp*cp*tp (all ranks of a pipeline rank).
//
// MeshShape and MeshPlace are pure arithmetic. ProcessMesh builds each group once and owns it; it is made after the
// MpiSession and dies before it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "parallel/host_group.hpp"
#include "parallel/measured_communicator.hpp"
#include "parallel/transport.hpp"
#include "src/backend/backend.hpp"
#include "src/backend/communicator.hpp"

namespace athanor {

enum class Axis : std::uint8_t { world, pp, dp, cp, tp, edp, ep, data, layer };
inline constexpr std::array<Axis, 9> kAxes = {Axis::world, Axis::pp, Axis::dp,   Axis::cp,   Axis::tp,
                                              Axis::edp,   Axis::ep, Axis::data, Axis::layer};
std::string_view to_string(Axis axis);

struct MeshShape {
  std::int64_t pp = 1;
  std::int64_t dp = 0;  ///< 0: the ranks that the other axes leave
  std::int64_t cp = 1, tp = 1, ep = 1;

  /// dp filled in and everything checked for a job of `ranks` ranks.
  /// @throws ConfigError naming the axis that does not fit and the values that would.
  MeshShape resolved(std::int64_t ranks) const;
  // Of a resolved shape:
  std::int64_t ranks() const { return pp * dp * cp * tp; }
  std::int64_t edp() const { return dp * cp * tp / ep; }
  std::int64_t size(Axis axis) const;
};

/// Where a rank of a resolved shape stands on every axis.
struct MeshPlace {
  MeshPlace(const MeshShape& shape, std::int64_t rank);
  std::int64_t coord(Axis axis) const { return coords_[static_cast<std::size_t>(axis)]; }

 private:
  std::array<std::int64_t, kAxes.size()> coords_{};
};

/// Ranks of the group along `axis` that `rank` belongs to, in the order of their coordinate.
std::vector<std::int64_t> ranks_along(const MeshShape& shape, Axis axis, std::int64_t rank);

class NcclSession;

/// By what the tensors of a mesh travel; one way for all its groups.
struct MeshTransport {
  Transport transport = Transport::mpi;  ///< as choose_transport chose
  NcclSession* session = nullptr;        ///< for nccl; must outlive the mesh
};

class ProcessMesh {
 public:
  /// Collective over `world`. The mesh shape must be the same on all ranks.
  /// @param ops  of this rank; must outlive the mesh.
  /// @param check_collectives  compare operation, type and shape over ranks before every collective on tensors: slow,
  /// for finding which rank went astray.
  ProcessMesh(const HostGroup& world, const MeshShape& shape, Backend& ops, bool check_collectives = false,
              MeshTransport transport = {});
  ~ProcessMesh();

  const MeshShape& shape() const { return shape_; }
  int coord(Axis axis) const { return static_cast<int>(place_.coord(axis)); }
  int size(Axis axis) const { return static_cast<int>(shape_.size(axis)); }
  /// The data plane and the control plane of the ranks along an axis.
  Communicator& along(Axis axis) { return *at(axis).communicator; }
  HostGroup& host(Axis axis) { return at(axis).host; }
  /// Time that calls on this axis took since the mesh was made.
  const CommunicationTime& time(Axis axis) const { return *groups_[static_cast<std::size_t>(axis)].time; }
  /// To be asked before anything is decided or kept that was computed from what others sent: after a failure on the
  /// device that means nothing. @throws CommError with the reason when the transport has failed.   Not collective.
  void require_healthy() const;
  /// The ranks of the first and the last pipeline rank that hold the same part of the vocabulary; alone on the others
  /// and without a pipeline.
  Communicator& ends() { return *ends_.communicator; }

 private:
  struct Group {
    HostGroup host = HostGroup::self();
    std::unique_ptr<Communicator> transport;  ///< when checked: what the checker passes calls to
    std::unique_ptr<Communicator> measured;   ///< what is measured
    std::unique_ptr<CommunicationTime> time = std::make_unique<CommunicationTime>();
    std::unique_ptr<Communicator> communicator;  ///< what is used
  };
  Group make_group(const HostGroup& world, Axis axis, Backend& ops, bool check_collectives) const;
  Group make_ends(const HostGroup& world, Backend& ops, bool check_collectives) const;
  /// @param may_talk  whether any rank of the job talks in its group of this kind: all ranks then open them together.
  void connect(Group& group, bool may_talk, const std::string& what, Backend& ops, bool check_collectives) const;
  std::unique_ptr<Communicator> communicator_of(const HostGroup& host, bool may_talk, Backend& ops) const;
  Group& at(Axis axis) { return groups_[static_cast<std::size_t>(axis)]; }

  MeshShape shape_;
  MeshPlace place_;
  MeshTransport transport_;
  std::vector<Group> groups_;  ///< in the order of kAxes
  Group ends_;
};

}  // namespace athanor
