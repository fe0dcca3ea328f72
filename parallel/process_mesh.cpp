#include "parallel/process_mesh.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "parallel/collective_check.hpp"
#include "parallel/mpi/mpi_communicator.hpp"
#include "parallel/mpi/staged_communicator.hpp"
#include "parallel/nccl/nccl_communicator.hpp"
#include "src/backend/solo_communicator.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"

namespace athanor {
namespace {

/// "1, 2, 3, 6"
std::string divisors(std::int64_t number) {
  std::string list;
  for (std::int64_t d = 1; d <= number; ++d)
    if (number % d == 0) list += (list.empty() ? "" : ", ") + std::to_string(d);
  return list;
}

/// The digit of `axis` and its weight in the rank number.
struct Digit {
  std::int64_t stride, size;
};

Digit digit_of(const MeshShape& s, Axis axis) {
  switch (axis) {
    case Axis::world:
      return {1, s.ranks()};
    case Axis::pp:
      return {s.dp * s.cp * s.tp, s.pp};
    case Axis::dp:
      return {s.cp * s.tp, s.dp};
    case Axis::cp:
      return {s.tp, s.cp};
    case Axis::tp:
      return {1, s.tp};
    case Axis::edp:
      return {s.ep, s.edp()};
    case Axis::ep:
      return {1, s.ep};
    case Axis::data:
      return {s.tp, s.dp * s.cp};
    case Axis::layer:
      return {1, s.dp * s.cp * s.tp};
  }
  throw Error("mesh: no such axis");
}

std::int64_t coord_of(const MeshShape& shape, Axis axis, std::int64_t rank) {
  const Digit digit = digit_of(shape, axis);
  return rank / digit.stride % digit.size;
}

}  // namespace

std::string_view to_string(Axis axis) {
  constexpr std::array<std::string_view, kAxes.size()> names = {"world", "pp", "dp",   "cp",   "tp",
                                                                "edp",   "ep", "data", "layer"};
  return names[static_cast<std::size_t>(axis)];
}

// ---- shape and place

MeshShape MeshShape::resolved(std::int64_t ranks) const {
  MeshShape shape = *this;
  const auto at_least_one = [](std::string_view axis, std::int64_t size) {
    if (size < 1) throw ConfigError(fmt::format("parallel.{} = {}: wanted at least 1", axis, size));
  };
  at_least_one("pp", pp);
  at_least_one("cp", cp);
  at_least_one("tp", tp);
  at_least_one("ep", ep);
  if (dp < 0) throw ConfigError(fmt::format("parallel.dp = {}: wanted at least 1, or 0 for all ranks left", dp));

  const std::int64_t others = pp * cp * tp;
  if (ranks % others != 0)
    throw ConfigError(
        fmt::format("parallel: pp*cp*tp = {}*{}*{} = {} does not divide the {} ranks of this job; choose axes whose "
                    "product is one of {}, or start a multiple of {} ranks",
                    pp, cp, tp, others, ranks, divisors(ranks), others));
  if (shape.dp == 0) shape.dp = ranks / others;
  if (shape.dp * others != ranks)
    throw ConfigError(
        fmt::format("parallel.dp = {}: pp*dp*cp*tp = {}*{}*{}*{} = {}, but this job has {} ranks; set parallel.dp = {} "
                    "(or 0), or start {} ranks",
                    dp, pp, dp, cp, tp, shape.dp * others, ranks, ranks / others, shape.dp * others));
  const std::int64_t block = shape.dp * cp * tp;
  if (block % ep != 0)
    throw ConfigError(fmt::format("parallel.ep = {} does not divide dp*cp*tp = {}*{}*{} = {}; choose one of {}", ep,
                                  shape.dp, cp, tp, block, divisors(block)));
  return shape;
}

std::int64_t MeshShape::size(Axis axis) const { return digit_of(*this, axis).size; }

MeshPlace::MeshPlace(const MeshShape& shape, std::int64_t rank) {
  if (rank < 0 || rank >= shape.ranks())
    throw Error(fmt::format("mesh: rank {} is none of {} (is the shape resolved?)", rank, shape.ranks()));
  for (const Axis axis : kAxes) coords_[static_cast<std::size_t>(axis)] = coord_of(shape, axis, rank);
}

std::vector<std::int64_t> ranks_along(const MeshShape& shape, Axis axis, std::int64_t rank) {
  const Digit digit = digit_of(shape, axis);
  const std::int64_t first = rank - coord_of(shape, axis, rank) * digit.stride;
  std::vector<std::int64_t> ranks;
  for (std::int64_t i = 0; i < digit.size; ++i) ranks.push_back(first + i * digit.stride);
  return ranks;
}

// ---- groups

ProcessMesh::ProcessMesh(const HostGroup& world, const MeshShape& shape, Backend& ops, bool check_collectives,
                         MeshTransport transport)
    : shape_(shape.resolved(world.size())), place_(shape_, world.rank()), transport_(transport) {
  HostGroup own = world.duplicate();
  own.check_same("the mesh shape",
                 stable_hash(fmt::format("{} {} {} {} {}", shape_.pp, shape_.dp, shape_.cp, shape_.tp, shape_.ep)));
  for (const Axis axis : kAxes) groups_.push_back(make_group(own, axis, ops, check_collectives));
  ends_ = make_ends(own, ops, check_collectives);
}

ProcessMesh::~ProcessMesh() = default;

void ProcessMesh::require_healthy() const {
  if (transport_.session != nullptr) transport_.session->watch().require_healthy();
}

ProcessMesh::Group ProcessMesh::make_group(const HostGroup& world, Axis axis, Backend& ops,
                                           bool check_collectives) const {
  Group group;
  // The lowest rank of a group names it.
  if (size(axis) > 1)
    group.host = world.split(static_cast<int>(ranks_along(shape_, axis, world.rank()).front()), coord(axis));
  group.host.set_name(to_string(axis));
  connect(group, size(axis) > 1, fmt::format("along {}", to_string(axis)), ops, check_collectives);
  return group;
}

ProcessMesh::Group ProcessMesh::make_ends(const HostGroup& world, Backend& ops, bool check_collectives) const {
  Group group;
  if (shape_.pp > 1) {
    const bool at_end = coord(Axis::pp) == 0 || coord(Axis::pp) == size(Axis::pp) - 1;
    group.host = world.split(at_end ? coord(Axis::tp) : world.rank(), world.rank());
  }
  group.host.set_name("ends");
  connect(group, shape_.pp > 1, "of both ends of the pipeline", ops, check_collectives);
  return group;
}

std::unique_ptr<Communicator> ProcessMesh::communicator_of(const HostGroup& host, bool may_talk, Backend& ops) const {
  const bool alone = host.size() == 1;
  switch (transport_.transport) {
    case Transport::nccl:
      if (may_talk)
        if (auto link = transport_.session->split(host, std::string(host.name())); !alone)
          return std::make_unique<NcclCommunicator>(*transport_.session, std::move(link), host, ops);
      break;
    case Transport::staged:
      if (!alone) return std::make_unique<StagedCommunicator>(host, ops);
      break;
    default:
      if (!alone) return std::make_unique<MpiCommunicator>(host);
  }
  return std::make_unique<SoloCommunicator>(ops);
}

void ProcessMesh::connect(Group& group, bool may_talk, const std::string& what, Backend& ops,
                          bool check_collectives) const {
  if (group.host.size() > 1 && transport_.transport == Transport::mpi && !ops.device().is_cpu())
    throw ConfigError(
        fmt::format("parallel: {} ranks {} on device {}: MPI sends tensors from host memory only; choose "
                    "parallel.transport = auto, nccl or staged, or run.device = cpu",
                    group.host.size(), what, to_string(ops.device())));
  group.communicator = communicator_of(group.host, may_talk, ops);
  if (group.host.size() == 1) return;
  if (check_collectives) {
    group.transport = std::move(group.communicator);
    group.communicator = std::make_unique<CheckedCommunicator>(*group.transport, group.host, what);
  }
  group.measured = std::move(group.communicator);
  group.communicator = std::make_unique<MeasuredCommunicator>(
      *group.measured, *group.time, group.host.log(), group.host.name(), !ops.device().is_cpu(), group.host.members());
}

}  // namespace athanor
