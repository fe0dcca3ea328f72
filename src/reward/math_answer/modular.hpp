// Exact comparison of rational expressions by their residues modulo two primes near 2^61. Two rational functions that
// differ agree at a random point modulo p with probability at most degree / p (Schwartz 1980, Zippel 1979), and numbers
// of any size cost one residue, so 2^1000000 is compared exactly in microseconds where expanding it would not end. Both
// primes are 1 modulo 4, so that i has a residue; pi and e are taken for variables of their own, as nothing rational is
// known to join them. Law: what is not rational (roots, functions, exponents that are no whole numbers) has no residue.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "src/reward/math_answer/expression.hpp"
#include "src/reward/math_answer/numeric.hpp"

namespace athanor::math {

class ModularEvaluator {
 public:
  /// @param field  0 or 1: which prime.
  ModularEvaluator(const Expressions& nodes, StepBudget& budget, int field);

  /// Fixes what free variables are.
  void set_point(std::uint64_t point) { point_ = point; }
  /// nullopt: not rational, or a denominator is 0 here. @throws OutOfBudget.
  std::optional<std::uint64_t> evaluate(NodeId root);
  /// The value of an expression of whole numbers that fits 63 bits.
  std::optional<std::int64_t> integer_value(NodeId root);

  std::uint64_t multiply(std::uint64_t a, std::uint64_t b) const;
  std::uint64_t subtract(std::uint64_t a, std::uint64_t b) const { return a >= b ? a - b : a + (prime_ - b); }

 private:
  std::uint64_t add(std::uint64_t a, std::uint64_t b) const { return subtract(a, b == 0 ? 0 : prime_ - b); }
  std::uint64_t power(std::uint64_t base, std::uint64_t exponent);
  std::optional<std::uint64_t> inverse(std::uint64_t a);
  std::uint64_t residue(std::int64_t value) const;
  std::uint64_t variable(const std::string& name) const;
  std::optional<std::uint64_t> evaluate_power(const Node& node);
  std::optional<std::uint64_t> evaluate_factorial(const Node& node);
  std::optional<std::uint64_t> evaluate_binomial(const Node& node);
  std::optional<std::uint64_t> evaluate_series(const Node& node);

  const Expressions& nodes_;
  StepBudget& budget_;
  std::uint64_t prime_, imaginary_, point_ = 0;
  std::map<std::string, std::int64_t> bound_;  // variables of sums
};

/// Residues of both at several points modulo both primes; open: one of them is not rational.
Agreement compare_exactly(const Expressions& nodes, NodeId a, NodeId b, StepBudget& budget);

/// Whether p = c q for one number c other than 0, where p = left_p - right_p and q likewise (the equations p = 0 and
/// q = 0 then say the same); open: one of them is not rational.
struct Difference {
  NodeId left, right;
};
Agreement compare_up_to_factor_exactly(const Expressions& nodes, Difference p, Difference q, StepBudget& budget);

}  // namespace athanor::math
