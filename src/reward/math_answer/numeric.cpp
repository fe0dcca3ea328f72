#include "src/reward/math_answer/numeric.hpp"

#include <cmath>
#include <numbers>

namespace athanor::math {
namespace {

using Complex = std::complex<double>;
constexpr double kRounding = 1.2e-16;  // half a unit in the last place of 1
constexpr double kLargest = 1e300, kSmallest = 1e-290;

double unit_interval(std::uint64_t hash) { return static_cast<double>(hash >> 11) * 0x1p-53; }

/// What an error of the argument does to f, seen by moving the argument that far.
template <class F>
Value propagate(const F& f, const Value& x) {
  const Complex y = f(x.value);
  const double moved =
      x.error > 0 ? std::max(std::abs(f(x.value + x.error) - y), std::abs(f(x.value - x.error) - y)) : 0;
  return {y, moved + 4 * kRounding * std::abs(y)};
}

}  // namespace

std::uint64_t hash_name(const std::string& name, std::uint64_t salt) {
  std::uint64_t hash = 0xCBF29CE484222325u ^ (salt * 0x9E3779B97F4A7C15u);  // FNV-1a, then the finaliser of splitmix64
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  hash ^= hash >> 30;
  hash *= 0xBF58476D1CE4E5B9u;
  hash ^= hash >> 27;
  hash *= 0x94D049BB133111EBu;
  return hash ^ (hash >> 31);
}

Agreement compare_values(const Value& a, const Value& b) {
  const double difference = std::abs(a.value - b.value), error = 64 * (a.error + b.error);
  const double size = std::max(std::abs(a.value), std::abs(b.value));
  constexpr double kRelative = 1e-9, kTrusted = 1e-6;
  if (difference > std::max(kRelative * size, error)) return Agreement::differ;
  const bool both_zero = size <= error && error <= kTrusted;
  return error <= kTrusted * size || both_zero || size == 0 ? Agreement::agree : Agreement::open;
}

Complex power_of(Complex base, Complex exponent) {
  if (exponent.imag() == 0 && std::abs(exponent.real()) <= 1e6 && exponent.real() == std::floor(exponent.real())) {
    const auto n = static_cast<long>(exponent.real());
    if (base.imag() == 0) return std::pow(base.real(), static_cast<double>(n));
    Complex result = 1.0, square = n < 0 ? 1.0 / base : base;
    for (long left = std::labs(n); left > 0; left /= 2, square *= square)
      if (left % 2 == 1) result *= square;
    return result;
  }
  if (base.imag() == 0 && exponent.imag() == 0 && base.real() >= 0) return std::pow(base.real(), exponent.real());
  if (base == 0.0) return exponent.real() > 0 ? 0.0 : Complex(NAN);
  return std::exp(exponent * std::log(base));
}

Value NumericEvaluator::symbol(const std::string& name) const {
  if (const auto bound = bound_.find(name); bound != bound_.end()) return bound->second;
  const std::uint64_t hash = hash_name(name, static_cast<std::uint64_t>(point_) + 1);
  static constexpr std::pair<double, double> kRanges[] = {{0.1, 0.9}, {0.35, 2.05}, {0.7, 1.9}, {2, 8}, {8, 40}};
  const auto [least, most] = kRanges[point_ % kNumPositivePoints];
  double value = least + (most - least) * unit_interval(hash);
  if (point_ >= kNumPositivePoints && (hash & 1) != 0) value = -value;
  return {{value, 0.0}, 0.0};
}

// Overflow and values so small that they have lost digits are not to be trusted.
std::optional<Value> NumericEvaluator::checked(Value value) const {
  const double size = std::abs(value.value);
  if (!std::isfinite(size) || size > kLargest || !std::isfinite(value.error)) return std::nullopt;
  if (size != 0 && size < kSmallest) return std::nullopt;
  return value;
}

std::optional<Value> NumericEvaluator::checked_branch(Value value) {
  left_the_reals_ = left_the_reals_ || !value.is_real();
  return checked(value);
}

std::optional<Value> NumericEvaluator::evaluate(NodeId root) {
  left_the_reals_ = false;
  return evaluate_node(nodes_[root]);
}

std::optional<Value> NumericEvaluator::evaluate_node(const Node& node) {
  budget_.charge(1 + node.text.size() / 8 + (node.kind == Kind::function || node.kind == Kind::power ? 4 : 0));
  const auto child = [&](std::size_t i) { return evaluate_node(nodes_[node.children[i]]); };
  switch (node.kind) {
    case Kind::number: {
      const double value = std::strtod((node.text + "e" + std::to_string(node.exponent10)).c_str(), nullptr);
      if (value == 0 && node.text != "0") return std::nullopt;
      return checked({{value, 0.0}, value == std::floor(value) && value < 0x1p53 ? 0.0 : kRounding * value});
    }
    case Kind::symbol:
      return symbol(node.text);
    case Kind::pi:
      return Value{{std::numbers::pi, 0.0}, kRounding * 2};
    case Kind::euler:
      return Value{{std::numbers::e, 0.0}, kRounding * 2};
    case Kind::imaginary:
      return Value{{0.0, 1.0}, 0.0};
    case Kind::add: {
      Value total{0.0, 0.0};
      for (std::size_t i = 0; i < node.children.size(); ++i) {
        const auto term = child(i);
        if (!term) return std::nullopt;
        total.value += term->value;
        total.error += term->error + kRounding * std::abs(total.value);
      }
      return checked(total);
    }
    case Kind::multiply: {
      Value product{1.0, 0.0};
      for (std::size_t i = 0; i < node.children.size(); ++i) {
        const auto factor = child(i);
        if (!factor) return std::nullopt;
        product.error =
            product.error * (std::abs(factor->value) + factor->error) + std::abs(product.value) * factor->error;
        const bool vanishes = product.value == 0.0 || factor->value == 0.0;
        product.value *= factor->value;
        product.error += 2 * kRounding * std::abs(product.value);
        if (product.value == 0.0 && !vanishes) return std::nullopt;
        if (!checked(product)) return std::nullopt;
      }
      return product;
    }
    case Kind::negate: {
      auto value = child(0);
      if (value) value->value = -value->value;
      return value;
    }
    case Kind::percent: {
      const auto value = child(0);
      if (!value) return std::nullopt;
      return checked({value->value / 100.0, value->error / 100 + kRounding * std::abs(value->value) / 100});
    }
    case Kind::with_unit:
      return child(0);
    case Kind::reciprocal: {
      const auto value = child(0);
      if (!value || std::abs(value->value) <= 4 * value->error) return std::nullopt;
      const Complex inverse = 1.0 / value->value;
      const double size = std::abs(inverse);
      return checked({inverse, size * size * value->error * 1.4 + 2 * kRounding * size});
    }
    case Kind::power: {
      const auto base = child(0), exponent = child(1);
      if (!base || !exponent) return std::nullopt;
      const auto of_base = [&](Complex x) { return power_of(x, exponent->value); };
      const auto of_exponent = [&](Complex x) { return power_of(base->value, x); };
      Value result = propagate(of_base, *base);
      // exp rounds in proportion to the size of its argument.
      const double argument = std::abs(exponent->value) * std::abs(std::log(std::abs(base->value) + kSmallest));
      result.error += propagate(of_exponent, *exponent).error + kRounding * (argument + 4) * std::abs(result.value);
      if (result.value == 0.0 && base->value != 0.0) return std::nullopt;
      return checked_branch(result);
    }
    case Kind::factorial: {
      const auto value = child(0);
      if (!value || !value->is_real() || value->value.real() < 0 || value->value.real() > 170) return std::nullopt;
      return checked(propagate([](Complex x) { return Complex(std::tgamma(x.real() + 1)); }, *value));
    }
    case Kind::binomial: {
      const auto n = child(0), k = child(1);
      if (!n || !k || !n->is_real() || !k->is_real()) return std::nullopt;
      const double a = n->value.real(), b = k->value.real();
      if (a < 0 || b < 0 || a > 1e4 || b > a) return std::nullopt;
      const double value = std::exp(std::lgamma(a + 1) - std::lgamma(b + 1) - std::lgamma(a - b + 1));
      return checked({{value, 0.0}, value * 1e-11 + (n->error + k->error) * value * 10});
    }
    case Kind::function:
      return evaluate_function(node);
    case Kind::call:
      return evaluate_call(node);
    case Kind::sum:
    case Kind::product:
      return evaluate_series(node);
    case Kind::integral:
      return evaluate_integral(node);
    case Kind::ratio: {
      if (node.children.size() != 2) return std::nullopt;
      const auto above = child(0), below = child(1);
      if (!above || !below || std::abs(below->value) <= 4 * below->error) return std::nullopt;
      const Complex value = above->value / below->value;
      return checked({value, (above->error + std::abs(value) * below->error) / std::abs(below->value) +
                                 kRounding * std::abs(value)});
    }
    default:
      return std::nullopt;
  }
}

std::optional<Value> NumericEvaluator::evaluate_function(const Node& node) {
  std::vector<Value> arguments;
  for (const NodeId child : node.children) {
    const auto value = evaluate_node(nodes_[child]);
    if (!value) return std::nullopt;
    arguments.push_back(*value);
  }
  const Value& x = arguments[0];
  const std::string& name = node.text;
  if (name == "max" || name == "min") {
    Value best = x;
    for (const Value& other : arguments) {
      if (!other.is_real()) return std::nullopt;
      if (name == "max" ? other.value.real() > best.value.real() : other.value.real() < best.value.real()) best = other;
    }
    return best;
  }
  if (name == "log" && arguments.size() == 2) {
    const auto logarithm = [](Complex z) { return function_of("ln", z); };
    const Value above = propagate(logarithm, x), below = propagate(logarithm, arguments[1]);
    if (std::abs(below.value) <= 4 * below.error) return std::nullopt;
    const Complex value = above.value / below.value;
    return checked_branch(
        {value, (above.error + std::abs(value) * below.error) / std::abs(below.value) + kRounding * std::abs(value)});
  }
  if (name == "root") {
    const Value& degree = arguments[1];
    const double n = degree.value.real();
    if (n == 0 || !degree.is_real()) return std::nullopt;
    const bool odd = n == std::floor(n) && std::fmod(std::abs(n), 2.0) == 1.0;
    const bool real_root = odd && x.is_real() && x.value.real() < 0;  // the real one, as schools teach
    const double sign = real_root ? -1.0 : 1.0;
    Value root = propagate([&](Complex z) { return sign * power_of(sign * z, 1.0 / n); }, x);
    root.error += 8 * kRounding * std::abs(root.value);
    return checked_branch(root);
  }
  if (name == "floor" || name == "ceil") {
    if (!x.is_real()) return std::nullopt;
    const double value = x.value.real(), nearest = std::round(value);
    // On the edge a rounding error would decide.
    if (x.error > 0 && std::abs(value - nearest) <= 4 * x.error) return std::nullopt;
    return Value{{name == "floor" ? std::floor(value) : std::ceil(value), 0.0}, 0.0};
  }
  if ((name == "sin" || name == "cos" || name == "tan" || name == "sec" || name == "csc" || name == "cot") &&
      std::abs(x.value) > 1e9)
    return std::nullopt;
  return checked_branch(propagate([&](Complex z) { return function_of(name, z); }, x));
}

// A smooth function that nothing is known of: equal arguments give equal values, others almost surely do not.
std::optional<Value> NumericEvaluator::evaluate_call(const Node& node) {
  Value phase{0.0, 0.0};
  std::uint64_t place = 0;
  for (const NodeId child : node.children) {
    const auto value = evaluate_node(nodes_[child]);
    if (!value || std::abs(value->value) > 1e6) return std::nullopt;
    const double weight = 0.5 + unit_interval(hash_name(node.text, 100 + place++));
    phase.value += weight * value->value;
    phase.error += weight * value->error + kRounding * std::abs(phase.value);
  }
  const double shift = unit_interval(hash_name(node.text, 99));
  return checked(propagate([&](Complex z) { return std::exp(std::sin(z + shift)) + 0.3 * z; }, phase));
}

}  // namespace athanor::math
