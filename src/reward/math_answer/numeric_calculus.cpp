// Named functions, finite sums and products, and definite integrals of the numeric evaluation.
#include <cmath>
#include <numbers>

#include "src/reward/math_answer/numeric.hpp"

namespace athanor::math {

std::complex<double> function_of(const std::string& name, std::complex<double> x) {
  using Complex = std::complex<double>;
  const bool real = x.imag() == 0;
  const auto through = [&](double (*f)(double), auto&& general) { return real ? Complex(f(x.real())) : general(x); };
  if (name == "sqrt") return real && x.real() >= 0 ? Complex(std::sqrt(x.real())) : std::sqrt(x);
  if (name == "abs") return std::abs(x);
  if (name == "exp") return through(std::exp, [](Complex z) { return std::exp(z); });
  if (name == "ln" || name == "log") {
    if (x == 0.0) return NAN;
    const Complex value = real && x.real() > 0 ? Complex(std::log(x.real())) : std::log(x);
    return name == "ln" ? value : value / std::numbers::ln10;
  }
  if (name == "sin") return through(std::sin, [](Complex z) { return std::sin(z); });
  if (name == "cos") return through(std::cos, [](Complex z) { return std::cos(z); });
  if (name == "tan") return through(std::tan, [](Complex z) { return std::tan(z); });
  if (name == "cot") return 1.0 / function_of("tan", x);
  if (name == "sec") return 1.0 / function_of("cos", x);
  if (name == "csc") return 1.0 / function_of("sin", x);
  if (name == "asin") return real && std::abs(x.real()) <= 1 ? Complex(std::asin(x.real())) : std::asin(x);
  if (name == "acos") return real && std::abs(x.real()) <= 1 ? Complex(std::acos(x.real())) : std::acos(x);
  if (name == "atan") return through(std::atan, [](Complex z) { return std::atan(z); });
  if (name == "sinh") return through(std::sinh, [](Complex z) { return std::sinh(z); });
  if (name == "cosh") return through(std::cosh, [](Complex z) { return std::cosh(z); });
  if (name == "tanh") return through(std::tanh, [](Complex z) { return std::tanh(z); });
  return NAN;
}

std::optional<Value> NumericEvaluator::evaluate_series(const Node& node) {
  const auto from = evaluate_node(nodes_[node.children[0]]), to = evaluate_node(nodes_[node.children[1]]);
  if (!from || !to || !from->is_real() || !to->is_real()) return std::nullopt;
  const double first = from->value.real(), last = to->value.real();
  constexpr double kMaxTerms = 1e5;
  if (first != std::floor(first) || last != std::floor(last) || std::abs(first) > 1e9 || last - first >= kMaxTerms)
    return std::nullopt;
  const bool adds = node.kind == Kind::sum;
  const auto outer = bound_.find(node.text);
  const std::optional<Value> hidden = outer == bound_.end() ? std::nullopt : std::optional(outer->second);
  Value total{adds ? 0.0 : 1.0, 0.0};
  bool whole = true;
  for (double k = first; k <= last && whole; ++k) {
    bind(node.text, k);
    const auto term = evaluate_node(nodes_[node.children[2]]);
    if (!term) {
      whole = false;
    } else if (adds) {
      total.value += term->value;
      total.error += term->error + 1.2e-16 * std::abs(total.value);
    } else {
      total.error = total.error * std::abs(term->value) + std::abs(total.value) * term->error;
      total.value *= term->value;
      total.error += 2.4e-16 * std::abs(total.value);
      whole = checked(total).has_value();
    }
  }
  unbind(node.text);
  if (hidden) bound_[node.text] = *hidden;
  return whole ? checked(total) : std::nullopt;
}

// Tanh-sinh quadrature (Takahasi and Mori 1974): good for smooth integrands, with singular ends too. The difference of
// two step sizes is the error; where it is not small there is no value.
std::optional<Value> NumericEvaluator::evaluate_integral(const Node& node) {
  const auto from = evaluate_node(nodes_[node.children[0]]), to = evaluate_node(nodes_[node.children[1]]);
  if (!from || !to || !from->is_real() || !to->is_real()) return std::nullopt;
  const double middle = 0.5 * (from->value.real() + to->value.real()),
               half = 0.5 * (to->value.real() - from->value.real());
  if (half == 0) return Value{0.0, 0.0};
  const auto outer = bound_.find(node.text);
  const std::optional<Value> hidden = outer == bound_.end() ? std::nullopt : std::optional(outer->second);
  constexpr double kReach = 3.2, kStep = 1.0 / 32;
  std::complex<double> fine = 0, coarse = 0;
  bool whole = true;
  const int steps = static_cast<int>(kReach / kStep);
  for (int i = -steps; i <= steps && whole; ++i) {
    const double t = i * kStep, s = 0.5 * std::numbers::pi * std::sinh(t), c = std::cosh(s);
    const double weight = 0.5 * std::numbers::pi * std::cosh(t) / (c * c);
    bind(node.text, middle + half * std::tanh(s));
    const auto value = evaluate_node(nodes_[node.children[2]]);
    if (!value) {
      whole = std::abs(i) >= steps - 12;  // an end may be singular, where the weight is next to nothing
      continue;
    }
    fine += weight * kStep * value->value;
    if (i % 2 == 0) coarse += weight * 2 * kStep * value->value;
  }
  unbind(node.text);
  if (hidden) bound_[node.text] = *hidden;
  if (!whole) return std::nullopt;
  const double error = std::abs(half) * (std::abs(fine - coarse) + 1e-13 * std::abs(fine));
  if (error > 1e-7 * std::max(1.0, std::abs(half * fine))) return std::nullopt;
  return checked({half * fine, error});
}

}  // namespace athanor::math
