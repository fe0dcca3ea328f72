#include "parallel/expert/node_map.hpp"

#include <fmt/format.h>

#include <map>

#include "src/base/error.hpp"

namespace athanor {

NodeMap::NodeMap(const std::vector<std::string>& name_of_rank) {
  std::map<std::string, int> node_of_name;
  for (const std::string& name : name_of_rank) {
    const int node = node_of_name.emplace(name, nodes()).first->second;
    if (node == nodes()) ranks_of_node_.emplace_back();
    auto& members = ranks_of_node_[static_cast<std::size_t>(node)];
    index_in_node_.push_back(static_cast<int>(members.size()));
    members.push_back(ranks());
    node_of_rank_.push_back(node);
  }
}

NodeMap NodeMap::gather(HostGroup& group, std::int64_t world_rank, std::int64_t ranks_per_node) {
  if (ranks_per_node < 0)
    throw ConfigError(
        fmt::format("ranks per node = {}: wanted a positive number, or 0 to go by host names", ranks_per_node));
  return NodeMap(
      group.all_gather(ranks_per_node > 0 ? std::to_string(world_rank / ranks_per_node) : group.host_name()));
}

int NodeMap::relay(int source, int node) const {
  const auto& members = ranks_of(node);
  return members[static_cast<std::size_t>(index_in_node_[static_cast<std::size_t>(source)]) % members.size()];
}

void check_groups_fit_nodes(const RouterArgs& router, const ExpertPlacement& placement, const NodeMap& nodes) {
  if (router.num_limited_groups >= router.num_groups) return;
  const std::int64_t group_size = router.num_experts / router.num_groups;
  const std::int64_t slots_per_rank = placement.slots_per_rank();
  std::vector<int> node_of_group(static_cast<std::size_t>(router.num_groups), -1);
  for (std::size_t slot = 0; slot < placement.physical_to_logical.size(); ++slot) {
    const std::int64_t group = placement.physical_to_logical[slot] / group_size;
    const int node = nodes.node_of(static_cast<int>(static_cast<std::int64_t>(slot) / slots_per_rank));
    int& known = node_of_group[static_cast<std::size_t>(group)];
    if (known >= 0 && known != node)
      throw ConfigError(
          fmt::format("expert parallelism: experts of routing group {} lie on nodes {} and {}, so routing to {} of {} "
                      "groups does not keep tokens on {} nodes; wanted a number of groups that is a multiple of the {} "
                      "nodes of {} ranks; change the groups, ep, or the ranks on a node",
                      group, known, node, router.num_limited_groups, router.num_groups, router.num_limited_groups,
                      nodes.nodes(), nodes.ranks()));
    known = node;
  }
}

}  // namespace athanor
