// Numbers and expressions.
#include <algorithm>
#include <cmath>

#include "src/reward/math_answer/compare.hpp"
#include "src/reward/math_answer/modular.hpp"
#include "src/reward/math_answer/real_set.hpp"
#include "src/reward/math_answer/units.hpp"

namespace athanor::math {
namespace {

MathVerdict verdict_of(bool equal) { return equal ? MathVerdict::equal : MathVerdict::different; }

}  // namespace

bool Comparison::has_decimals(NodeId id) {
  steps_.charge();
  const Node& node = nodes_[id];
  return node.decimal || node.kind == Kind::percent ||
         std::any_of(node.children.begin(), node.children.end(), [&](NodeId child) { return has_decimals(child); });
}

NodeId Comparison::times(NodeId value, std::int64_t factor) {
  if (factor == 1) return value;
  return nodes_.add(Kind::multiply, {value, nodes_.add(Kind::number, {}, std::to_string(factor))});
}

MathVerdict Comparison::compare_values(NodeId gold, NodeId candidate) {
  const Node &g = nodes_[gold], &c = nodes_[candidate];
  if (g.kind == Kind::with_unit || c.kind == Kind::with_unit) return compare_with_units(gold, candidate);
  if (nodes_.same(gold, candidate, steps_)) return MathVerdict::equal;
  if (const int a = infinity_sign(gold, nodes_), b = infinity_sign(candidate, nodes_); a != 0 || b != 0)
    return verdict_of(a == b);
  if (g.kind == Kind::ratio && c.kind == Kind::ratio) return compare_ratios(gold, candidate);
  const bool constant = nodes_.free_symbols(gold, steps_).empty() && nodes_.free_symbols(candidate, steps_).empty();
  const bool rounded = constant && (has_decimals(gold) || has_decimals(candidate));
  const Agreement exact = compare_exactly(nodes_, gold, candidate, steps_);
  if (exact == Agreement::agree) return MathVerdict::equal;
  if (rounded) return compare_decimals(gold, candidate);
  if (exact == Agreement::differ) return MathVerdict::different;
  return compare_samples(gold, candidate);
}

// A unit on one side only does not count; two that measure the same are converted, two that do not differ.
MathVerdict Comparison::compare_with_units(NodeId gold, NodeId candidate) {
  const auto inside = [&](NodeId id) { return nodes_[id].kind == Kind::with_unit ? nodes_[id].children[0] : id; };
  const NodeId value_gold = inside(gold), value_candidate = inside(candidate);
  if (value_gold == gold || value_candidate == candidate) return compare(value_gold, value_candidate);
  const UnitMeasure g = measure_of(nodes_[gold].text), c = measure_of(nodes_[candidate].text);
  if (g.named || c.named) return compare(value_gold, value_candidate);
  if (g.dimensions != c.dimensions)
    return g.dimensions.empty() || c.dimensions.empty() ? compare(value_gold, value_candidate) : MathVerdict::different;
  return compare(times(times(value_gold, g.numerator), c.denominator),
                 times(times(value_candidate, c.numerator), g.denominator));
}

// a : b : c in proportion. A part that is 0 has to be 0 on both sides, and then the others the same, so that the times
// 12:00 and 1:00 differ.
MathVerdict Comparison::compare_ratios(NodeId gold, NodeId candidate) {
  const std::vector<NodeId> g = nodes_[gold].children, c = nodes_[candidate].children;
  if (g.size() != c.size()) return MathVerdict::different;
  const auto is_zero = [&](NodeId id) { return nodes_[id].kind == Kind::number && nodes_[id].text == "0"; };
  if (std::any_of(g.begin(), g.end(), is_zero) || std::any_of(c.begin(), c.end(), is_zero))
    return compare_in_order(g, c);
  for (std::size_t i = 1; i < g.size(); ++i) {
    const MathVerdict verdict =
        compare(nodes_.add(Kind::multiply, {g[0], c[i]}), nodes_.add(Kind::multiply, {c[0], g[i]}));
    if (verdict != MathVerdict::equal) return verdict;
  }
  return MathVerdict::equal;
}

// One is a decimal fraction or a percentage: equal to half a unit of the sixth place behind the point. Numbers below
// one thousandth have to agree in proportion, else 0 would be equal to 0.0000004.
MathVerdict Comparison::compare_decimals(NodeId gold, NodeId candidate) {
  NumericEvaluator evaluator(nodes_, steps_);
  const auto a = evaluator.evaluate(gold), b = evaluator.evaluate(candidate);
  if (!a || !b) return MathVerdict::unknown;
  constexpr double kHalfOfSixthPlace = 5e-7, kSmall = 1e-3;
  const double size = std::max(std::abs(a->value), std::abs(b->value));
  const double tolerance = kHalfOfSixthPlace * std::min(1.0, size / kSmall) * (1 + 1e-9) + a->error + b->error;
  return verdict_of(std::abs(a->value - b->value) <= tolerance);
}

// At points where one side passes through complex numbers, principal branches decide: ln(xy) and ln x + ln y differ for
// negative x and y. Such points only count where there are no others (complex answers have none).
MathVerdict Comparison::compare_samples(NodeId gold, NodeId candidate) {
  NumericEvaluator evaluator(nodes_, steps_);
  const bool constant = nodes_.free_symbols(gold, steps_).empty() && nodes_.free_symbols(candidate, steps_).empty();
  struct Count {
    int agreed = 0, differed = 0;
  } real, complex;
  for (int point = 0; point < (constant ? 1 : kNumPoints); ++point) {
    evaluator.set_point(point);
    const auto a = evaluator.evaluate(gold);
    bool left_the_reals = evaluator.left_the_reals();
    const auto b = a ? evaluator.evaluate(candidate) : std::nullopt;
    left_the_reals = left_the_reals || evaluator.left_the_reals();
    if (!a || !b) continue;
    Count& count = left_the_reals ? complex : real;
    const Agreement agreement = math::compare_values(*a, *b);
    if (agreement == Agreement::differ) ++count.differed;
    if (agreement == Agreement::agree) ++count.agreed;
  }
  const int enough = constant ? 1 : 2;
  for (const Count& count : {real, complex}) {
    if (count.differed > 0) return MathVerdict::different;
    if (count.agreed >= enough) return MathVerdict::equal;
  }
  return MathVerdict::unknown;
}

}  // namespace athanor::math
