// Values of expressions in double precision, each with a bound on its rounding error, at points where every variable
// has a value that follows from its name alone. Two expressions that differ beyond their bounds at one point are
// different; that they agree at all points is taken for equality (rational expressions are decided exactly before:
// modular.hpp). Law: a value that can not be trusted (overflow, underflow, a pole, a cancelled difference) is nothing,
// not a wrong number.
#pragma once

#include <complex>
#include <map>
#include <optional>
#include <string>

#include "src/reward/math_answer/expression.hpp"

namespace athanor::math {

struct Value {
  std::complex<double> value;
  double error = 0;  ///< bound on |value - true value|, not rigorous but generous
  bool is_real() const { return std::abs(value.imag()) <= error; }
};

/// A number in [0, 2^64) that follows from a name and a salt alone.
std::uint64_t hash_name(const std::string& name, std::uint64_t salt);

/// Points 0 to kNumPositivePoints - 1 have positive values; in the others some are negative. Their sizes differ, so
/// that arcsin x, ln(ln x) and sqrt(x - 5) all have points where they are real.
inline constexpr int kNumPositivePoints = 5, kNumPoints = 9;

class NumericEvaluator {
 public:
  NumericEvaluator(const Expressions& nodes, StepBudget& budget) : nodes_(nodes), budget_(budget) {}

  /// Fixes what free variables are: point in [0, kNumPoints).
  void set_point(int point) { point_ = point; }
  /// Gives one variable a value of its own until it is cleared.
  void bind(const std::string& name, double value) { bound_[name] = Value{{value, 0.0}, 0.0}; }
  void unbind(const std::string& name) { bound_.erase(name); }

  /// nullopt: no number (sets, poles, overflow, what is not evaluated). @throws OutOfBudget.
  std::optional<Value> evaluate(NodeId root);
  /// Whether a root, power or function within the last evaluate() left the real numbers: principal branches then
  /// decide, and forms that are equal where all is real may differ.
  bool left_the_reals() const { return left_the_reals_; }

 private:
  std::optional<Value> evaluate_node(const Node& node);
  std::optional<Value> evaluate_function(const Node& node);
  std::optional<Value> evaluate_call(const Node& node);
  std::optional<Value> evaluate_series(const Node& node);
  std::optional<Value> evaluate_integral(const Node& node);
  std::optional<Value> checked(Value value) const;
  std::optional<Value> checked_branch(Value value);
  Value symbol(const std::string& name) const;

  const Expressions& nodes_;
  StepBudget& budget_;
  std::map<std::string, Value> bound_;
  int point_ = 0;
  bool left_the_reals_ = false;
};

/// What two values at one point say.
enum class Agreement : std::uint8_t { agree, differ, open };
Agreement compare_values(const Value& a, const Value& b);

/// base to the power exponent: exact branches for whole exponents and for real bases. Principal value otherwise.
std::complex<double> power_of(std::complex<double> base, std::complex<double> exponent);

/// Value of a named function of one argument; NaN where it has none.
std::complex<double> function_of(const std::string& name, std::complex<double> x);

}  // namespace athanor::math
