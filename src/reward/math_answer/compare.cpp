#include "src/reward/math_answer/compare.hpp"

#include <algorithm>
#include <set>

#include "src/reward/math_answer/real_set.hpp"
#include "src/reward/math_answer/rewrite.hpp"

namespace athanor::math {
namespace {

constexpr std::size_t kMostElements = 256;  // of a collection, where order does not count

}  // namespace

// Both values of a plus-minus as a list; a list or set of one as that one.
NodeId Comparison::simplified(NodeId id) {
  if (nodes_[id].kind == Kind::list || nodes_[id].kind == Kind::set) {
    std::vector<NodeId> elements;
    bool changed = false;
    for (const NodeId child : nodes_[id].children) {
      const auto variants = sign_variants(child, workspace_);
      changed = changed || !variants.empty();
      if (variants.empty())
        elements.push_back(child);
      else
        elements.insert(elements.end(), variants.begin(), variants.end());
    }
    if (elements.size() == 1) return elements[0];
    return changed ? nodes_.add(nodes_[id].kind, std::move(elements), nodes_[id].text) : id;
  }
  auto variants = sign_variants(id, workspace_);
  return variants.empty() ? id : nodes_.add(Kind::list, std::move(variants), "or");
}

bool Comparison::is_collection(NodeId id) const {
  const Kind kind = nodes_[id].kind;
  return kind == Kind::list || kind == Kind::set || kind == Kind::tuple;
}

MathVerdict Comparison::compare(NodeId gold, NodeId candidate) {
  steps_.charge();
  if (nodes_.same(gold, candidate, steps_)) return MathVerdict::equal;
  gold = simplified(gold);
  candidate = simplified(candidate);
  const Kind g = nodes_[gold].kind, c = nodes_[candidate].kind;
  if (is_real_set(gold, nodes_) || is_real_set(candidate, nodes_)) return compare_sets(gold, candidate);
  if ((g == Kind::relation || c == Kind::relation) && g != Kind::list && c != Kind::list)
    return compare_relations(gold, candidate);
  if (is_collection(gold) || is_collection(candidate)) return compare_collections(gold, candidate);
  if (nodes_.contains(gold, Kind::matrix, steps_) || nodes_.contains(candidate, Kind::matrix, steps_))
    return compare_matrices(gold, candidate);
  return compare_values(gold, candidate);
}

MathVerdict Comparison::compare_in_order(const std::vector<NodeId>& gold, const std::vector<NodeId>& candidate) {
  if (gold.size() != candidate.size()) return MathVerdict::different;
  bool open = false;
  for (std::size_t i = 0; i < gold.size(); ++i) {
    const MathVerdict verdict = compare(gold[i], candidate[i]);
    if (verdict == MathVerdict::different) return verdict;
    open = open || verdict == MathVerdict::unknown;
  }
  return open ? MathVerdict::unknown : MathVerdict::equal;
}

// `counted`: every element has a partner of its own; else each is found among the others, as in sets.
MathVerdict Comparison::compare_in_any_order(const std::vector<NodeId>& gold, const std::vector<NodeId>& candidate,
                                             bool counted) {
  if (counted && gold.size() != candidate.size()) return MathVerdict::different;
  if (gold.empty() != candidate.empty()) return MathVerdict::different;
  if (std::max(gold.size(), candidate.size()) > kMostElements)
    throw OutOfBudget("a set of answers has more elements than are matched");
  std::vector<bool> found(candidate.size(), false);
  bool open = false;
  for (const NodeId element : gold) {
    bool matched = false, undecided = false;
    for (std::size_t i = 0; i < candidate.size(); ++i) {
      if (counted && (found[i] || matched)) continue;
      const MathVerdict verdict = compare(element, candidate[i]);
      undecided = undecided || verdict == MathVerdict::unknown;
      if (verdict == MathVerdict::equal) matched = found[i] = true;
    }
    if (!matched && !undecided) return MathVerdict::different;
    open = open || !matched;
  }
  if (open) return MathVerdict::unknown;
  return std::all_of(found.begin(), found.end(), [](bool f) { return f; }) ? MathVerdict::equal
                                                                           : MathVerdict::different;
}

bool Comparison::assigns_distinct_names(const Node& list) {
  std::set<std::string> names;
  for (const NodeId child : list.children) {
    const Node& node = nodes_[child];
    if (node.kind != Kind::relation || node.text != "=" || nodes_[node.children[0]].kind != Kind::symbol) return false;
    if (!names.insert(nodes_[node.children[0]].text).second) return false;
  }
  return true;
}

MathVerdict Comparison::compare_collections(NodeId gold, NodeId candidate) {
  if (!is_collection(gold) || !is_collection(candidate)) return MathVerdict::different;
  const Node &g = nodes_[gold], &c = nodes_[candidate];
  // x = 1, y = 2 beside 1, 2 and beside (1, 2): by place. So is a set beside a tuple, as Math-Verify has it.
  if (g.kind == Kind::tuple || c.kind == Kind::tuple) return compare_in_order(g.children, c.children);
  const bool named_gold = assigns_distinct_names(g), named_candidate = assigns_distinct_names(c);
  const auto plain = [&](const Node& list) {
    return std::none_of(list.children.begin(), list.children.end(),
                        [&](NodeId child) { return nodes_[child].kind == Kind::relation; });
  };
  if (g.kind == Kind::list && c.kind == Kind::list &&
      ((named_gold && plain(c) && !c.children.empty()) || (named_candidate && plain(g) && !g.children.empty())))
    return compare_in_order(g.children, c.children);
  return compare_in_any_order(g.children, c.children, g.kind == Kind::list && c.kind == Kind::list);
}

double Comparison::tolerance_of(NodeId gold, NodeId candidate) {
  constexpr double kOfDecimals = 1e-6, kOfRounding = 1e-9;
  return has_decimals(gold) || has_decimals(candidate) ? kOfDecimals : kOfRounding;
}

// One of them is an interval, a union or R. Also reached from relations, whose solutions are a set.
MathVerdict Comparison::compare_sets(NodeId gold, NodeId candidate) {
  const NodeId whole_gold = gold, whole_candidate = candidate;
  if (const auto set = assigned_value(gold, true)) gold = *set;
  if (const auto set = assigned_value(candidate, true)) candidate = *set;
  if ((gold != whole_gold || candidate != whole_candidate) && !is_real_set(gold, nodes_) &&
      !is_real_set(candidate, nodes_))
    return compare(gold, candidate);
  const Node &g = nodes_[gold], &c = nodes_[candidate];
  const double tolerance = tolerance_of(gold, candidate);
  Agreement agreement = compare_real_sets(gold, candidate, ListMeaning::all_of, tolerance, workspace_);
  if (agreement == Agreement::differ && (g.kind == Kind::list || c.kind == Kind::list))
    agreement = compare_real_sets(gold, candidate, ListMeaning::any_of, tolerance, workspace_);
  if (agreement != Agreement::open) return agreement == Agreement::agree ? MathVerdict::equal : MathVerdict::different;
  const auto with_ends = [](const Node& node) { return node.kind == Kind::interval || node.kind == Kind::tuple; };
  if (with_ends(g) && with_ends(c))
    return (g.kind == Kind::interval ? g.text : "()") == (c.kind == Kind::interval ? c.text : "()")
               ? compare_in_order(g.children, c.children)
               : MathVerdict::different;
  if (g.kind != c.kind) return MathVerdict::different;
  if (g.kind == Kind::set_union || g.kind == Kind::intersection)
    return compare_in_any_order(g.children, c.children, true);
  return compare_in_order(g.children, c.children);
}

MathVerdict Comparison::compare_matrices(NodeId gold, NodeId candidate) {
  const auto g = matrix_value(gold, workspace_), c = matrix_value(candidate, workspace_);
  if (g && c) {
    if (g->rows != c->rows || g->columns != c->columns) return MathVerdict::different;
    return compare_in_order(g->entries, c->entries);
  }
  if (g || c) return MathVerdict::different;
  return compare_values(without_determinants(gold, workspace_), without_determinants(candidate, workspace_));
}

}  // namespace athanor::math
