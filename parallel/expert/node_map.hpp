// Which ranks of a group share a machine. Law: nodes are numbered in order of their lowest rank, ranks of a node in
// rising order; everything is a pure function of the list given, so all ranks agree. Nodes may hold different numbers
// of ranks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/expert/placement.hpp"
#include "parallel/host_group.hpp"
#include "src/backend/backend.hpp"

namespace athanor {

class NodeMap {
 public:
  /// @param name_of_rank  ranks of one name share a node.
  explicit NodeMap(const std::vector<std::string>& name_of_rank);
  /// From the host names of the group. Collective over `group`.
  /// @param world_rank, ranks_per_node  where ranks_per_node is positive, host names are not asked: consecutive ranks
  /// of the job share a node, so that one machine can play many.
  static NodeMap gather(HostGroup& group, std::int64_t world_rank, std::int64_t ranks_per_node = 0);

  int ranks() const { return static_cast<int>(node_of_rank_.size()); }
  int nodes() const { return static_cast<int>(ranks_of_node_.size()); }
  int node_of(int rank) const { return node_of_rank_[static_cast<std::size_t>(rank)]; }
  const std::vector<int>& ranks_of(int node) const { return ranks_of_node_[static_cast<std::size_t>(node)]; }
  /// The rank of `node` that takes what `source` sends there: the one of the same number within its node, which makes
  /// every pair of equal numbers one lane of the network. `source` itself on its own node.
  int relay(int source, int node) const;
  /// True where sending a row once to a node and on to ranks inside it can save something: several nodes, and one of
  /// them with several ranks.
  bool has_two_levels() const { return nodes() > 1 && nodes() < ranks(); }

 private:
  std::vector<int> node_of_rank_, index_in_node_;
  std::vector<std::vector<int>> ranks_of_node_;
};

/// Node-limited routing promises that a token goes to at most num_limited_groups nodes. That holds when all copies of
/// the experts of a group lie on one node.
/// @throws ConfigError naming a group that is spread, where the router limits groups at all.
/// Source: DeepSeek-V3 report, section 2.1.2 (node-limited routing).
void check_groups_fit_nodes(const RouterArgs& router, const ExpertPlacement& placement, const NodeMap& nodes);

}  // namespace athanor
