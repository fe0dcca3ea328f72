#include "src/reward/math_answer/real_set.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace athanor::math {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::size_t kMostEnds = 64;

class RealSet {
 public:
  RealSet(NodeId root, ListMeaning meaning, double tolerance, Workspace& workspace)
      : root_(root),
        meaning_(meaning),
        tolerance_(tolerance),
        nodes_(workspace.nodes),
        steps_(workspace.steps),
        evaluator_(workspace.nodes, workspace.steps) {
    readable_ = find_variable() && collect_ends(root);
  }

  bool readable() const { return readable_; }
  const std::vector<double>& ends() const { return ends_; }
  bool contains(double x) {
    if (!variable_.empty()) evaluator_.bind(variable_, x);
    return contains(root_, x);
  }

 private:
  bool find_variable() {
    const std::vector<std::string> names = nodes_.free_symbols(root_, steps_);
    if (names.size() > 1) return false;
    if (!names.empty()) variable_ = names[0];
    return true;
  }

  std::optional<double> number(NodeId id) {
    if (const int sign = infinity_sign(id, nodes_); sign != 0) return sign * kInfinity;
    const auto value = evaluator_.evaluate(id);
    if (!value || !value->is_real()) return std::nullopt;
    return value->value.real();
  }

  bool is_constant(NodeId id) { return nodes_.free_symbols(id, steps_).empty(); }

  bool add_end(NodeId id) {
    const auto value = is_constant(id) ? number(id) : std::nullopt;
    if (!value || ends_.size() >= kMostEnds) return false;
    if (std::isfinite(*value)) ends_.push_back(*value);
    return true;
  }

  bool collect_ends(NodeId id) {
    steps_.charge();
    const Node& node = nodes_[id];
    const auto each = [&](auto&& visit) { return std::all_of(node.children.begin(), node.children.end(), visit); };
    switch (node.kind) {
      case Kind::reals:
        return true;
      case Kind::tuple:
        return node.children.size() == 2 && each([&](NodeId child) { return add_end(child); });
      case Kind::interval:
      case Kind::set:
        return each([&](NodeId child) { return add_end(child); });
      case Kind::set_union:
      case Kind::intersection:
      case Kind::difference:
      case Kind::list:
        return each([&](NodeId child) { return collect_ends(child); });
      case Kind::relation:
        if (variable_.empty()) return false;
        if (node.text == "e") return nodes_[node.children[0]].kind == Kind::symbol && collect_ends(node.children[1]);
        return node.text.find('e') == std::string::npos && each([&](NodeId child) {
                 if (!is_constant(child) || infinity_sign(child, nodes_) != 0) return true;
                 if (!add_end(child)) return false;
                 ends_.push_back(-ends_.back());  // an end of |x|, too
                 return true;
               });
      default:
        return false;
    }
  }

  bool near(double a, double b) const {
    return std::isfinite(b) && std::abs(a - b) <= tolerance_ * std::max(1.0, std::abs(b));
  }

  bool contains_interval(const Node& node, double x) {
    const auto low = number(node.children[0]), high = number(node.children[1]);
    if (!low || !high) return false;
    const bool closed_low = node.kind == Kind::interval && node.text[0] == '[';
    const bool closed_high = node.kind == Kind::interval && node.text[1] == ']';
    const bool above = near(x, *low) ? closed_low : x > *low;
    const bool below = near(x, *high) ? closed_high : x < *high;
    return above && below;
  }

  bool holds(const Node& relation) {
    for (std::size_t i = 0; i + 1 < relation.children.size(); ++i) {
      const auto left = number(relation.children[i]), right = number(relation.children[i + 1]);
      if (!left || !right) return false;
      const bool same = std::isfinite(*left) && near(*left, *right);
      switch (relation.text[i]) {
        case '=':
          if (!same) return false;
          break;
        case '!':
          if (same) return false;
          break;
        case '<':
          if (same || *left > *right) return false;
          break;
        case '>':
          if (same || *left < *right) return false;
          break;
        case 'l':
          if (!same && *left > *right) return false;
          break;
        default:
          if (!same && *left < *right) return false;
      }
    }
    return true;
  }

  bool contains(NodeId id, double x) {
    steps_.charge();
    const Node& node = nodes_[id];
    const auto in = [&](NodeId child) { return contains(child, x); };
    switch (node.kind) {
      case Kind::reals:
        return true;
      case Kind::tuple:
      case Kind::interval:
        return contains_interval(node, x);
      case Kind::set:
        return std::any_of(node.children.begin(), node.children.end(), [&](NodeId child) {
          const auto value = number(child);
          return value && near(x, *value);
        });
      case Kind::set_union:
        return std::any_of(node.children.begin(), node.children.end(), in);
      case Kind::intersection:
        return std::all_of(node.children.begin(), node.children.end(), in);
      case Kind::difference:
        return in(node.children[0]) && !in(node.children[1]);
      case Kind::list:
        return node.text == "or" || meaning_ == ListMeaning::any_of
                   ? std::any_of(node.children.begin(), node.children.end(), in)
                   : std::all_of(node.children.begin(), node.children.end(), in);
      case Kind::relation:
        return node.text == "e" ? in(node.children[1]) : holds(node);
      default:
        return false;
    }
  }

  NodeId root_;
  ListMeaning meaning_;
  double tolerance_;
  const Expressions& nodes_;
  StepBudget& steps_;
  NumericEvaluator evaluator_;
  std::string variable_;
  std::vector<double> ends_;
  bool readable_ = false;
};

/// Each end, both of its sides, what lies between two, and what lies beyond the outermost.
std::vector<double> places_to_look(std::vector<double> ends, double tolerance) {
  ends.push_back(0.0);
  std::sort(ends.begin(), ends.end());
  std::vector<double> places;
  for (std::size_t i = 0; i < ends.size(); ++i) {
    const double end = ends[i], apart = 4 * tolerance * std::max(1.0, std::abs(end));
    places.push_back(end);
    const double next = i + 1 < ends.size() ? ends[i + 1] : end + 2 * (1 + std::abs(end));
    const double before = i > 0 ? ends[i - 1] : end - 2 * (1 + std::abs(end));
    constexpr double kClose = 1e-3;
    if (next - end > 2 * apart) {
      places.push_back(0.5 * (end + next));
      places.push_back(end + std::max(apart, kClose * (next - end)));
    }
    if (end - before > 2 * apart) {
      places.push_back(0.5 * (end + before));
      places.push_back(end - std::max(apart, kClose * (end - before)));
    }
  }
  for (const double far : {10.0, 1e3, 1e6}) {
    places.push_back(ends.front() - far);
    places.push_back(ends.back() + far);
  }
  return places;
}

}  // namespace

int infinity_sign(NodeId root, const Expressions& nodes) {
  int sign = 1;
  const Node* node = &nodes[root];
  while (node->kind == Kind::negate) {
    sign = -sign;
    node = &nodes[node->children[0]];
  }
  return node->kind == Kind::infinity ? sign : 0;
}

bool is_real_set(NodeId root, const Expressions& nodes) {
  const Node& node = nodes[root];
  switch (node.kind) {
    case Kind::interval:
    case Kind::set_union:
    case Kind::intersection:
    case Kind::difference:
    case Kind::reals:
      return true;
    case Kind::tuple:
      return node.children.size() == 2 &&
             (infinity_sign(node.children[0], nodes) != 0 || infinity_sign(node.children[1], nodes) != 0);
    default:
      return false;
  }
}

Agreement compare_real_sets(NodeId a, NodeId b, ListMeaning meaning, double tolerance, Workspace& workspace) {
  RealSet first(a, meaning, tolerance, workspace), second(b, meaning, tolerance, workspace);
  if (!first.readable() || !second.readable()) return Agreement::open;
  std::vector<double> ends = first.ends();
  ends.insert(ends.end(), second.ends().begin(), second.ends().end());
  for (const double x : places_to_look(std::move(ends), tolerance))
    if (first.contains(x) != second.contains(x)) return Agreement::differ;
  return Agreement::agree;
}

}  // namespace athanor::math
