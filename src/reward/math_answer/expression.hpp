// The tree of an answer, in an arena shared by the two answers of one comparison. Law: sums, products, lists are flat,
// so the depth of a tree is bounded by the nesting of its text; the arena refuses more nodes or depth than the limits
// allow, and everything that walks a tree may recurse.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "src/base/error.hpp"
#include "src/reward/math_answer.hpp"

namespace athanor::math {

/// The text is not an answer this folder can read.
class Unreadable : public Error {
 public:
  using Error::Error;
};

/// A limit was reached: the question stays open.
class OutOfBudget : public Error {
 public:
  using Error::Error;
};

/// Steps that are left. Counting them instead of looking at a clock keeps verdicts the same everywhere.
class StepBudget {
 public:
  explicit StepBudget(std::uint64_t steps) : left_(steps) {}
  void charge(std::uint64_t steps = 1) {
    if (steps > left_) {
      left_ = 0;
      throw OutOfBudget("a comparison of answers needs more steps than it may take");
    }
    left_ -= steps;
  }

 private:
  std::uint64_t left_;
};

using NodeId = std::uint32_t;

enum class Kind : std::uint8_t {
  number,  // text: digits; value = digits * 10^exponent10
  symbol,  // text: name
  pi,
  euler,
  imaginary,
  infinity,
  add,           // n
  multiply,      // n
  reciprocal,    // 1: 1/x
  negate,        // 1
  power,         // base, exponent
  function,      // text: one of the known names; log has 1 or 2 children (argument, base), root (radicand, degree)
  call,          // text: name; nothing is known of it but that equal arguments give equal values
  factorial,     // 1
  binomial,      // n, k
  sum,           // text: variable; from, to, body
  product,       // as sum
  integral,      // as sum
  percent,       // 1
  plus_minus,    // 1
  minus_plus,    // 1
  with_unit,     // 1; text: unit as written
  ratio,         // n: a : b : c
  relation,      // n + 1 operands; text: n of = < > l (<=) g (>=) ! (not equal) e (element of)
  list,          // n, without parentheses; text: "," or "or"
  tuple,         // n
  set,           // n
  interval,      // 2; text: "[]", "(]", "[)" ("()" is a tuple)
  set_union,     // n
  intersection,  // 2
  difference,    // 2
  reals,
  matrix  // row by row; exponent10: columns
};

struct Node {
  Kind kind;
  std::string text{};
  std::vector<NodeId> children{};
  int exponent10 = 0;
  bool decimal = false;     ///< number: written with a point or an exponent
  std::uint16_t depth = 0;  ///< set by the arena
};

class Expressions {
 public:
  explicit Expressions(const MathLimits& limits) : max_nodes_(limits.max_nodes), max_depth_(limits.max_depth * 4) {}

  /// @throws OutOfBudget beyond the limits.
  NodeId add(Node node);
  NodeId add(Kind kind, std::vector<NodeId> children, std::string text = {}) {
    return add(Node{.kind = kind, .text = std::move(text), .children = std::move(children)});
  }
  NodeId integer(int value);

  const Node& operator[](NodeId id) const { return nodes_[id]; }

  /// Same tree, same texts.
  bool same(NodeId a, NodeId b, StepBudget& budget) const;
  /// Whether `kind` occurs in the tree.
  bool contains(NodeId root, Kind kind, StepBudget& budget) const;
  /// Names of symbols that no sum or integral binds, sorted, each once.
  std::vector<std::string> free_symbols(NodeId root, StepBudget& budget) const;

 private:
  std::deque<Node> nodes_;  // references stay valid while nodes are added
  std::size_t max_nodes_, max_depth_;
};

/// What one comparison works with.
struct Workspace {
  explicit Workspace(const MathLimits& l) : limits(l), nodes(l), steps(l.max_steps) {}
  const MathLimits limits;
  Expressions nodes;
  StepBudget steps;
};

}  // namespace athanor::math
