// Equations, inequalities, assignments.
#include <algorithm>
#include <cmath>

#include "src/reward/math_answer/compare.hpp"
#include "src/reward/math_answer/modular.hpp"
#include "src/reward/math_answer/real_set.hpp"

namespace athanor::math {
namespace {

bool is_capital(const std::string& name) { return name[0] == '\\' || (name[0] >= 'A' && name[0] <= 'Z'); }

}  // namespace

// What an answer may be called: x, f(x), AB, P(A), f^{-1}(x), (x, y).
bool Comparison::is_name(NodeId id) const {
  const Node& node = nodes_[id];
  const auto is_symbol = [&](NodeId child) { return nodes_[child].kind == Kind::symbol; };
  if (node.kind == Kind::symbol || node.kind == Kind::call) return true;
  if (node.kind != Kind::multiply && node.kind != Kind::tuple) return false;
  if (node.kind == Kind::multiply && node.children.size() == 2 && nodes_[node.children[0]].kind == Kind::power &&
      is_symbol(node.children[1])) {
    const Node& inverse = nodes_[node.children[0]];
    const Node& exponent = nodes_[inverse.children[1]];
    return is_symbol(inverse.children[0]) && exponent.kind == Kind::negate &&
           nodes_[exponent.children[0]].text == "1" && nodes_[exponent.children[0]].kind == Kind::number;
  }
  if (node.children.empty() || !std::all_of(node.children.begin(), node.children.end(), is_symbol)) return false;
  return node.kind == Kind::tuple || is_capital(nodes_[node.children[0]].text);
}

// The value v of x = v, v = x and x = w = v. `of_set`: the set S of "x in S" instead.
std::optional<NodeId> Comparison::assigned_value(NodeId relation, bool of_set) const {
  const Node& node = nodes_[relation];
  if (node.kind != Kind::relation) return std::nullopt;
  if (of_set) return node.text == "e" ? std::optional(node.children[1]) : std::nullopt;
  if (node.text.find_first_not_of('=') != std::string::npos) return std::nullopt;
  if (is_name(node.children.front())) return node.children.back();
  if (is_name(node.children.back())) return node.children.front();
  return std::nullopt;
}

// a < b >= c as a < b and c <= b: only '<' and 'l' (at most) are left of the four.
std::vector<Comparison::Pair> Comparison::pairs_of(NodeId relation) const {
  const Node& node = nodes_[relation];
  std::vector<Pair> pairs;
  for (std::size_t i = 0; i < node.text.size(); ++i) {
    const NodeId left = node.children[i], right = node.children[i + 1];
    const char code = node.text[i];
    if (code == '>' || code == 'g')
      pairs.push_back({code == '>' ? '<' : 'l', right, left});
    else
      pairs.push_back({code, left, right});
  }
  return pairs;
}

MathVerdict Comparison::compare_relations(NodeId gold, NodeId candidate) {
  const bool relation_gold = nodes_[gold].kind == Kind::relation;
  const bool relation_candidate = nodes_[candidate].kind == Kind::relation;
  if (relation_gold && relation_candidate) return compare_two_relations(gold, candidate);
  const NodeId relation = relation_gold ? gold : candidate, other = relation_gold ? candidate : gold;
  for (const bool of_set : {false, true})
    if (const auto value = assigned_value(relation, of_set))
      return relation_gold ? compare(*value, other) : compare(other, *value);
  // A pair may be a point: it is an interval only where the gold answer says that it looks for one.
  const Kind kind = nodes_[other].kind;
  if (nodes_[relation].text.find_first_of("<>lg!") == std::string::npos) return MathVerdict::different;
  if (kind == Kind::set || (kind == Kind::tuple && relation_gold)) return compare_sets(gold, candidate);
  return MathVerdict::different;
}

MathVerdict Comparison::compare_two_relations(NodeId gold, NodeId candidate) {
  const auto value_gold = assigned_value(gold, false), value_candidate = assigned_value(candidate, false);
  if (value_gold && value_candidate) {
    const auto name = [&](NodeId relation, NodeId value) {
      const Node& node = nodes_[relation];
      return node.children.back() == value ? node.children.front() : node.children.back();
    };
    if (nodes_.same(name(gold, *value_gold), name(candidate, *value_candidate), steps_)) {
      const MathVerdict verdict = compare(*value_gold, *value_candidate);
      if (verdict != MathVerdict::different) return verdict;
    }
  }
  const std::vector<Pair> pairs_gold = pairs_of(gold), pairs_candidate = pairs_of(candidate);
  bool open = false;
  if (pairs_gold.size() == pairs_candidate.size()) {
    std::size_t matched = 0;
    std::vector<bool> taken(pairs_candidate.size(), false);
    for (const Pair& pair : pairs_gold)
      for (std::size_t i = 0; i < pairs_candidate.size(); ++i) {
        if (taken[i]) continue;
        const MathVerdict verdict = compare_pairs(pair, pairs_candidate[i]);
        open = open || verdict == MathVerdict::unknown;
        if (verdict != MathVerdict::equal) continue;
        taken[i] = true;
        ++matched;
        break;
      }
    if (matched == pairs_gold.size()) return MathVerdict::equal;
  }
  // Other forms of the same solutions: |x| < 2 and -2 < x < 2. Only where both name ends, or none would be looked at.
  const auto names_ends = [&](NodeId relation) {
    const Node& node = nodes_[relation];
    if (node.text == "e") return true;
    const bool unequal = node.text.find_first_of("<>lg!") != std::string::npos;
    return unequal && std::any_of(node.children.begin(), node.children.end(),
                                  [&](NodeId child) { return nodes_[child].kind == Kind::symbol; });
  };
  const auto variable = nodes_.free_symbols(gold, steps_);
  if (variable.size() == 1 && variable == nodes_.free_symbols(candidate, steps_) &&
      (names_ends(gold) || names_ends(candidate))) {
    switch (compare_real_sets(gold, candidate, ListMeaning::all_of, tolerance_of(gold, candidate), workspace_)) {
      case Agreement::agree:
        return MathVerdict::equal;
      case Agreement::differ:
        return MathVerdict::different;
      case Agreement::open:
        break;
    }
  }
  return open ? MathVerdict::unknown : MathVerdict::different;
}

MathVerdict Comparison::compare_pairs(const Pair& gold, const Pair& candidate) {
  if (gold.relation != candidate.relation) return MathVerdict::different;
  const MathVerdict left = compare(gold.left, candidate.left);
  if (left == MathVerdict::equal) {
    const MathVerdict right = compare(gold.right, candidate.right);
    if (right == MathVerdict::equal || gold.relation == 'e') return right;
  }
  if (gold.relation == 'e') return left;
  double factor = 0;
  switch (compare_up_to_factor(gold, candidate, factor)) {
    case Agreement::agree:
      return gold.relation == '=' || gold.relation == '!' || factor > 0 ? MathVerdict::equal : MathVerdict::different;
    case Agreement::differ:
      return MathVerdict::different;
    case Agreement::open:
      break;
  }
  return MathVerdict::unknown;
}

// gold.left - gold.right = factor (candidate.left - candidate.right) at every point.
Agreement Comparison::compare_up_to_factor(const Pair& gold, const Pair& candidate, double& factor) {
  const Agreement exact =
      compare_up_to_factor_exactly(nodes_, {gold.left, gold.right}, {candidate.left, candidate.right}, steps_);
  if (exact == Agreement::differ) return exact;
  const auto difference = [&](const Pair& pair) {
    return nodes_.add(Kind::add, {pair.left, nodes_.add(Kind::negate, {pair.right})});
  };
  const NodeId quotient =
      nodes_.add(Kind::multiply, {difference(gold), nodes_.add(Kind::reciprocal, {difference(candidate)})});
  NumericEvaluator evaluator(nodes_, steps_);
  std::optional<Value> first;
  int agreed = 0;
  for (int point = 0; point < kNumPoints; ++point) {
    evaluator.set_point(point);
    const auto value = evaluator.evaluate(quotient);
    if (!value || !value->is_real() || std::abs(value->value) <= 4 * value->error) continue;
    if (!first) {
      first = value;
      factor = value->value.real();
      if (exact == Agreement::agree) return exact;
    } else {
      const Agreement agreement = math::compare_values(*first, *value);
      if (agreement == Agreement::differ) return agreement;
      if (agreement == Agreement::agree) ++agreed;
    }
  }
  constexpr int kEnough = 2;
  return agreed >= kEnough ? Agreement::agree : Agreement::open;
}

}  // namespace athanor::math
