#include "src/reward/math_answer/expression.hpp"

#include <algorithm>
#include <set>

namespace athanor::math {
namespace {

bool binds_variable(Kind kind) { return kind == Kind::sum || kind == Kind::product || kind == Kind::integral; }

void collect_symbols(const Expressions& nodes, NodeId root, std::set<std::string>& bound, std::set<std::string>& found,
                     StepBudget& budget) {
  budget.charge();
  const Node& node = nodes[root];
  if (node.kind == Kind::symbol && !bound.contains(node.text)) found.insert(node.text);
  for (std::size_t i = 0; i < node.children.size(); ++i) {
    // The limits of a sum stand outside the reach of its variable.
    const bool binds_here = binds_variable(node.kind) && i == 2 && bound.insert(node.text).second;
    collect_symbols(nodes, node.children[i], bound, found, budget);
    if (binds_here) bound.erase(node.text);
  }
}

}  // namespace

NodeId Expressions::add(Node node) {
  std::size_t depth = 0;
  for (const NodeId child : node.children) depth = std::max(depth, std::size_t{nodes_[child].depth} + 1);
  if (nodes_.size() >= max_nodes_ || depth > max_depth_)
    throw OutOfBudget("an answer has more parts or deeper ones than are looked at");
  node.depth = static_cast<std::uint16_t>(depth);
  nodes_.push_back(std::move(node));
  return static_cast<NodeId>(nodes_.size() - 1);
}

NodeId Expressions::integer(int value) {
  const NodeId magnitude = add(Node{.kind = Kind::number, .text = std::to_string(value < 0 ? -value : value)});
  return value < 0 ? add(Kind::negate, {magnitude}) : magnitude;
}

bool Expressions::same(NodeId a, NodeId b, StepBudget& budget) const {
  if (a == b) return true;
  budget.charge();
  const Node &x = nodes_[a], &y = nodes_[b];
  if (x.kind != y.kind || x.exponent10 != y.exponent10 || x.children.size() != y.children.size() || x.text != y.text)
    return false;
  for (std::size_t i = 0; i < x.children.size(); ++i)
    if (!same(x.children[i], y.children[i], budget)) return false;
  return true;
}

bool Expressions::contains(NodeId root, Kind kind, StepBudget& budget) const {
  budget.charge();
  const Node& node = nodes_[root];
  return node.kind == kind || std::any_of(node.children.begin(), node.children.end(),
                                          [&](NodeId child) { return contains(child, kind, budget); });
}

std::vector<std::string> Expressions::free_symbols(NodeId root, StepBudget& budget) const {
  std::set<std::string> bound, found;
  collect_symbols(*this, root, bound, found, budget);
  return {found.begin(), found.end()};
}

}  // namespace athanor::math
