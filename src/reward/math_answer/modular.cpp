#include "src/reward/math_answer/modular.hpp"

#include <array>
#include <utility>

namespace athanor::math {
namespace {

struct PrimeField {
  std::uint64_t prime, root_of_minus_one;
};
constexpr std::array<PrimeField, 2> kFields{PrimeField{2305843009213693921U, 583529827753931384U},
                                            PrimeField{2305843009213693693U, 966685122347009555U}};
constexpr int kPoints = 3, kAttempts = 6;  // a denominator may be 0 at a point
constexpr std::uint64_t kPowerCost = 16;   // steps: up to 61 squarings

__extension__ using Wide = unsigned __int128;

}  // namespace

ModularEvaluator::ModularEvaluator(const Expressions& nodes, StepBudget& budget, int field)
    : nodes_(nodes),
      budget_(budget),
      prime_(kFields[static_cast<std::size_t>(field)].prime),
      imaginary_(kFields[static_cast<std::size_t>(field)].root_of_minus_one) {}

std::uint64_t ModularEvaluator::multiply(std::uint64_t a, std::uint64_t b) const {
  return static_cast<std::uint64_t>(static_cast<Wide>(a) * b % prime_);
}

std::uint64_t ModularEvaluator::power(std::uint64_t base, std::uint64_t exponent) {
  budget_.charge(kPowerCost);
  std::uint64_t result = 1;
  for (; exponent > 0; exponent /= 2, base = multiply(base, base))
    if (exponent % 2 == 1) result = multiply(result, base);
  return result;
}

std::optional<std::uint64_t> ModularEvaluator::inverse(std::uint64_t a) {
  if (a == 0) return std::nullopt;
  return power(a, prime_ - 2);
}

std::uint64_t ModularEvaluator::residue(std::int64_t value) const {
  const std::uint64_t magnitude = value < 0 ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
  const std::uint64_t reduced = magnitude % prime_;
  return value < 0 && reduced != 0 ? prime_ - reduced : reduced;
}

std::uint64_t ModularEvaluator::variable(const std::string& name) const {
  return hash_name(name, point_ + 1000) % prime_;
}

std::optional<std::int64_t> ModularEvaluator::integer_value(NodeId root) {
  budget_.charge();
  const Node& node = nodes_[root];
  const auto fold = [&](std::int64_t start, auto&& step) -> std::optional<std::int64_t> {
    std::int64_t total = start;
    for (const NodeId child : node.children) {
      const auto value = integer_value(child);
      if (!value || step(total, *value, &total)) return std::nullopt;
    }
    return total;
  };
  const auto product = [](std::int64_t a, std::int64_t b, std::int64_t* out) {
    return __builtin_mul_overflow(a, b, out);
  };
  switch (node.kind) {
    case Kind::number: {
      constexpr std::size_t kMostDigits = 18;
      if (node.exponent10 < 0 || node.exponent10 > 18 ||
          node.text.size() + static_cast<std::size_t>(node.exponent10) > kMostDigits)
        return node.text == "0" ? std::optional<std::int64_t>(0) : std::nullopt;
      std::int64_t value = std::stoll(node.text);
      for (int i = 0; i < node.exponent10; ++i) value *= 10;
      return value;
    }
    case Kind::symbol: {
      const auto bound = bound_.find(node.text);
      return bound == bound_.end() ? std::nullopt : std::optional(bound->second);
    }
    case Kind::add:
      return fold(0,
                  [](std::int64_t a, std::int64_t b, std::int64_t* out) { return __builtin_add_overflow(a, b, out); });
    case Kind::multiply:
      return fold(1, product);
    case Kind::negate: {
      const auto value = integer_value(node.children[0]);
      std::int64_t negative = 0;
      return value && !__builtin_sub_overflow(0, *value, &negative) ? std::optional(negative) : std::nullopt;
    }
    case Kind::power: {
      const auto base = integer_value(node.children[0]), exponent = integer_value(node.children[1]);
      constexpr std::int64_t kMostBits = 63;
      if (!base || !exponent || *exponent < 0) return std::nullopt;
      if (*base == 0 || *base == 1) return *exponent == 0 ? 1 : *base;
      if (*base == -1) return *exponent % 2 == 0 ? 1 : -1;
      if (*exponent > kMostBits) return std::nullopt;
      std::int64_t value = 1;
      for (std::int64_t i = 0; i < *exponent; ++i)
        if (product(value, *base, &value)) return std::nullopt;
      return value;
    }
    default:
      return std::nullopt;
  }
}

std::optional<std::uint64_t> ModularEvaluator::evaluate(NodeId root) {
  const Node& node = nodes_[root];
  budget_.charge(1 + node.text.size() / 8);
  const auto child = [&](std::size_t i) { return evaluate(node.children[i]); };
  switch (node.kind) {
    case Kind::number: {
      std::uint64_t value = 0;
      for (const char digit : node.text) value = add(multiply(value, 10), static_cast<std::uint64_t>(digit - '0'));
      if (node.exponent10 == 0) return value;
      const bool below = node.exponent10 < 0;
      const std::uint64_t scale = power(10, static_cast<std::uint64_t>(below ? -node.exponent10 : node.exponent10));
      return multiply(value, below ? *inverse(scale) : scale);
    }
    case Kind::symbol: {
      const auto bound = bound_.find(node.text);
      return bound == bound_.end() ? variable(node.text) : residue(bound->second);
    }
    case Kind::pi:
      return variable("\\pi");
    case Kind::euler:
      return variable("\\euler");
    case Kind::imaginary:
      return imaginary_;
    case Kind::add:
    case Kind::multiply: {
      std::uint64_t total = node.kind == Kind::add ? 0 : 1;
      for (std::size_t i = 0; i < node.children.size(); ++i) {
        const auto value = child(i);
        if (!value) return std::nullopt;
        total = node.kind == Kind::add ? add(total, *value) : multiply(total, *value);
      }
      return total;
    }
    case Kind::negate: {
      const auto value = child(0);
      return value ? std::optional(subtract(0, *value)) : std::nullopt;
    }
    case Kind::percent: {
      const auto value = child(0);
      return value ? std::optional(multiply(*value, *inverse(100))) : std::nullopt;
    }
    case Kind::with_unit:
      return child(0);
    case Kind::reciprocal: {
      const auto value = child(0);
      return value ? inverse(*value) : std::nullopt;
    }
    case Kind::ratio: {
      if (node.children.size() != 2) return std::nullopt;
      const auto above = child(0), below = child(1);
      const auto scale = below ? inverse(*below) : std::nullopt;
      return above && scale ? std::optional(multiply(*above, *scale)) : std::nullopt;
    }
    case Kind::power:
      return evaluate_power(node);
    case Kind::factorial:
      return evaluate_factorial(node);
    case Kind::binomial:
      return evaluate_binomial(node);
    case Kind::sum:
    case Kind::product:
      return evaluate_series(node);
    default:
      return std::nullopt;
  }
}

std::optional<std::uint64_t> ModularEvaluator::evaluate_power(const Node& node) {
  const auto exponent = integer_value(node.children[1]);
  if (!exponent) return std::nullopt;
  const auto base = evaluate(node.children[0]);
  if (!base || (*base == 0 && *exponent <= 0)) return std::nullopt;
  if (*exponent >= 0) return power(*base, static_cast<std::uint64_t>(*exponent));
  return inverse(power(*base, 0 - static_cast<std::uint64_t>(*exponent)));
}

std::optional<std::uint64_t> ModularEvaluator::evaluate_factorial(const Node& node) {
  constexpr std::int64_t kMost = 100'000;
  const auto n = integer_value(node.children[0]);
  if (!n || *n < 0 || *n > kMost) return std::nullopt;
  budget_.charge(static_cast<std::uint64_t>(*n) / 8);
  std::uint64_t value = 1;
  for (std::int64_t k = 2; k <= *n; ++k) value = multiply(value, static_cast<std::uint64_t>(k));
  return value;
}

std::optional<std::uint64_t> ModularEvaluator::evaluate_binomial(const Node& node) {
  constexpr std::int64_t kMost = 100'000;
  const auto n = integer_value(node.children[0]), k = integer_value(node.children[1]);
  if (!n || !k || *n < 0 || *k < 0 || *k > kMost) return std::nullopt;
  if (*k > *n) return 0;
  budget_.charge(static_cast<std::uint64_t>(*k) / 4);
  std::uint64_t above = 1, below = 1;
  for (std::int64_t i = 0; i < *k; ++i) {
    above = multiply(above, residue(*n - i));
    below = multiply(below, residue(i + 1));
  }
  const auto scale = inverse(below);
  return scale ? std::optional(multiply(above, *scale)) : std::nullopt;
}

std::optional<std::uint64_t> ModularEvaluator::evaluate_series(const Node& node) {
  constexpr std::int64_t kMostTerms = 100'000, kFarthest = std::int64_t{1} << 60;
  const auto from = integer_value(node.children[0]), to = integer_value(node.children[1]);
  if (!from || !to || std::abs(*from) > kFarthest || std::abs(*to) > kFarthest || *to - *from >= kMostTerms)
    return std::nullopt;
  const bool adds = node.kind == Kind::sum;
  const auto outer = bound_.find(node.text);
  const std::optional<std::int64_t> hidden = outer == bound_.end() ? std::nullopt : std::optional(outer->second);
  std::uint64_t total = adds ? 0 : 1;
  bool whole = true;
  for (std::int64_t k = *from; k <= *to && whole; ++k) {
    bound_[node.text] = k;
    const auto term = evaluate(node.children[2]);
    whole = term.has_value();
    if (whole) total = adds ? add(total, *term) : multiply(total, *term);
  }
  bound_.erase(node.text);
  if (hidden) bound_[node.text] = *hidden;
  if (!whole) return std::nullopt;
  return total;
}

Agreement compare_exactly(const Expressions& nodes, NodeId a, NodeId b, StepBudget& budget) {
  for (int field = 0; field < 2; ++field) {
    ModularEvaluator evaluator(nodes, budget, field);
    int agreed = 0;
    for (std::uint64_t point = 0; point < kAttempts && agreed < kPoints; ++point) {
      evaluator.set_point(point);
      const auto x = evaluator.evaluate(a);
      const auto y = x ? evaluator.evaluate(b) : std::nullopt;
      if (!x || !y) continue;
      if (*x != *y) return Agreement::differ;
      ++agreed;
    }
    if (agreed == 0) return Agreement::open;
  }
  return Agreement::agree;
}

Agreement compare_up_to_factor_exactly(const Expressions& nodes, Difference p, Difference q, StepBudget& budget) {
  for (int field = 0; field < 2; ++field) {
    ModularEvaluator evaluator(nodes, budget, field);
    std::optional<std::pair<std::uint64_t, std::uint64_t>> first;
    bool agreed = false;
    for (std::uint64_t point = 0; point < kAttempts; ++point) {
      evaluator.set_point(point);
      const auto difference = [&](const Difference& d) -> std::optional<std::uint64_t> {
        const auto left = evaluator.evaluate(d.left);
        const auto right = left ? evaluator.evaluate(d.right) : std::nullopt;
        return left && right ? std::optional(evaluator.subtract(*left, *right)) : std::nullopt;
      };
      const auto x = difference(p);
      const auto y = x ? difference(q) : std::nullopt;
      if (!x || !y) continue;
      if (*x == 0 || *y == 0) return *x == *y ? Agreement::open : Agreement::differ;
      if (!first)
        first = std::pair(*x, *y);
      else if (evaluator.multiply(*x, first->second) != evaluator.multiply(*y, first->first))
        return Agreement::differ;
      else
        agreed = true;
    }
    if (!agreed) return Agreement::open;
  }
  return Agreement::agree;
}

}  // namespace athanor::math
