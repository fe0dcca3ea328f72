// Two parsed answers: do they say the same? By kind: collections element by element, relations as equations up to a
// factor or as sets, sets of real numbers by membership, matrices entry by entry, all else by value.
#pragma once

#include <string>
#include <vector>

#include "src/reward/math_answer.hpp"
#include "src/reward/math_answer/numeric.hpp"

namespace athanor::math {

class Comparison {
 public:
  explicit Comparison(Workspace& workspace) : workspace_(workspace), nodes_(workspace.nodes), steps_(workspace.steps) {}

  /// @throws OutOfBudget.
  MathVerdict compare(NodeId gold, NodeId candidate);

 private:
  // compare.cpp: kinds that hold others
  NodeId simplified(NodeId id);
  MathVerdict compare_collections(NodeId gold, NodeId candidate);
  MathVerdict compare_in_order(const std::vector<NodeId>& gold, const std::vector<NodeId>& candidate);
  MathVerdict compare_in_any_order(const std::vector<NodeId>& gold, const std::vector<NodeId>& candidate, bool counted);
  MathVerdict compare_sets(NodeId gold, NodeId candidate);
  MathVerdict compare_matrices(NodeId gold, NodeId candidate);
  bool assigns_distinct_names(const Node& list);
  bool is_collection(NodeId id) const;
  double tolerance_of(NodeId gold, NodeId candidate);

  // compare_relations.cpp
  struct Pair {
    char relation;  // of '=', '!', '<', 'l', 'e'
    NodeId left, right;
  };
  MathVerdict compare_relations(NodeId gold, NodeId candidate);
  MathVerdict compare_two_relations(NodeId gold, NodeId candidate);
  MathVerdict compare_pairs(const Pair& gold, const Pair& candidate);
  Agreement compare_up_to_factor(const Pair& gold, const Pair& candidate, double& factor);
  std::vector<Pair> pairs_of(NodeId relation) const;
  std::optional<NodeId> assigned_value(NodeId relation, bool of_set) const;
  bool is_name(NodeId id) const;

  // compare_values.cpp
  MathVerdict compare_values(NodeId gold, NodeId candidate);
  MathVerdict compare_with_units(NodeId gold, NodeId candidate);
  MathVerdict compare_ratios(NodeId gold, NodeId candidate);
  MathVerdict compare_decimals(NodeId gold, NodeId candidate);
  MathVerdict compare_samples(NodeId gold, NodeId candidate);
  bool has_decimals(NodeId id);
  NodeId times(NodeId value, std::int64_t factor);

  Workspace& workspace_;
  Expressions& nodes_;
  StepBudget& steps_;
};

}  // namespace athanor::math
