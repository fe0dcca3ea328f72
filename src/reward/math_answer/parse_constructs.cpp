// Named constructs: functions, fractions, roots, binomials, sums, integrals, absolute values.
#include <algorithm>
#include <utility>

#include "src/reward/math_answer/parser.hpp"

namespace athanor::math {

NodeId Parser::parse_named() {
  const Token token = take();
  const std::string& name = token.text;
  if (name == "pi") return nodes_.add(Kind::pi, {});
  if (name == "infinity") return nodes_.add(Kind::infinity, {});
  if (name == "emptyset") return nodes_.add(Kind::set, {});
  if (name == "reals") return nodes_.add(Kind::reals, {});
  if (name == "begin") return parse_matrix();
  if (name == "sqrt") return parse_root();
  if (name == "sum") return parse_series(Kind::sum);
  if (name == "prod") return parse_series(Kind::product);
  if (name == "int") return parse_integral();
  if (name == "lim") return parse_limit();
  if (name == "boxed") return parse_argument();
  if (name == "frac") {
    const NodeId above = parse_argument();
    return nodes_.add(Kind::multiply, {above, nodes_.add(Kind::reciprocal, {parse_argument()})});
  }
  if (name == "binom") {
    if (is_sign("(")) {
      std::vector<NodeId> arguments = parse_function_arguments();
      if (arguments.size() != 2) fail("two arguments of binom");
      return nodes_.add(Kind::binomial, std::move(arguments));
    }
    const NodeId above = parse_argument();
    return nodes_.add(Kind::binomial, {above, parse_argument()});
  }
  if (!known_function(name).empty() || name == "asin" || name == "acos" || name == "atan") return parse_function(name);
  fail("something other than \\" + name);
}

// {...}, or one token; of a number written without braces its first digit: \frac12 is one half.
NodeId Parser::parse_argument() {
  const Level level(*this);
  if (is_sign("{")) return parse_primary();
  if (peek().kind == TokenKind::number && peek().text.size() > 1 && peek().text.find('.') == std::string::npos) {
    const std::string digit = peek().text.substr(0, 1);
    tokens_[at_].text.erase(0, 1);
    return number(digit);
  }
  if (peek().kind == TokenKind::number) return number(take().text);
  if (peek().kind == TokenKind::letter) {
    const std::string name = take().text;
    if (bound_names_.contains(name)) return nodes_.add(Kind::symbol, {}, name);
    if (name == "e") return nodes_.add(Kind::euler, {});
    if (name == "i") return nodes_.add(Kind::imaginary, {});
    return nodes_.add(Kind::symbol, {}, name);
  }
  return parse_primary();
}

NodeId Parser::parse_root() {
  const Level level(*this);
  if (accept("[")) {
    const NodeId degree = parse_list();
    expect("]");
    const NodeId radicand = is_sign("{") ? parse_argument() : parse_postfix();
    return nodes_.add(Kind::function, {radicand, degree}, "root");
  }
  // A number without braces is taken whole: \sqrt12 is meant as the root of twelve.
  const NodeId radicand = peek().kind == TokenKind::number ? number(take().text) : parse_argument();
  return nodes_.add(Kind::function, {radicand}, "sqrt");
}

std::vector<NodeId> Parser::parse_function_arguments() {
  expect("(");
  const Level level(*this);
  const int bars = std::exchange(open_bars_, 0);
  std::string separator;
  std::vector<NodeId> arguments = parse_comma_items(separator);
  expect(")");
  open_bars_ = bars;
  return arguments;
}

// Without parentheses the argument is the product that stands behind: sin 2x cos x is sin(2x) cos x.
NodeId Parser::parse_function_argument() {
  const Level level(*this);
  const bool negative = accept("-");
  std::vector<NodeId> factors;
  do {
    factors.push_back(parse_power());
  } while (starts_factor() && !(peek().kind == TokenKind::name && !known_function(peek().text).empty()) &&
           !is_sign("(") && peek().kind != TokenKind::text && peek().kind != TokenKind::word);
  const NodeId product = factors.size() == 1 ? factors[0] : nodes_.add(Kind::multiply, std::move(factors));
  return negative ? nodes_.add(Kind::negate, {product}) : product;
}

NodeId Parser::parse_function(const std::string& written) {
  const Level level(*this);
  std::string name = written;
  std::optional<NodeId> base, exponent;
  for (;;) {
    if (name == "log" && !base && accept("_")) {
      base = parse_argument();
      // \log_28: the 8 is left over from "28"; log_2 (8) has an argument of its own.
      continue;
    }
    if (!exponent && is_sign("^")) {
      ++at_;
      exponent = is_sign("-") ? parse_unary() : parse_argument();
      continue;
    }
    break;
  }
  std::vector<NodeId> arguments;
  if (is_sign("("))
    arguments = parse_function_arguments();
  else if ((name == "max" || name == "min" || name == "gcd" || name == "lcm") && accept("\\{")) {
    std::string separator;
    arguments = parse_comma_items(separator);
    expect("\\}");
  } else {
    arguments = {parse_function_argument()};
  }
  const bool many = name == "max" || name == "min" || name == "gcd" || name == "lcm";
  if (!many && arguments.size() != 1) fail("one argument of " + name);
  if (name == "lg") name = "log", base = nodes_.integer(10);
  if (name == "factorial") return nodes_.add(Kind::factorial, std::move(arguments));
  if (name == "log" && base) arguments.push_back(*base);
  if (exponent && (name == "sin" || name == "cos" || name == "tan")) {
    const Node& power = nodes_[*exponent];
    if (power.kind == Kind::negate && nodes_[power.children[0]].kind == Kind::number &&
        nodes_[power.children[0]].text == "1") {
      name.insert(0, "a");
      exponent.reset();
    }
  }
  const NodeId value = nodes_.add(Kind::function, std::move(arguments), name);
  return exponent ? nodes_.add(Kind::power, {value, *exponent}) : value;
}

NodeId Parser::parse_series(Kind kind) {
  const Level level(*this);
  expect("_");
  expect("{");
  const Token variable = take();
  if (variable.kind != TokenKind::letter) fail("the variable of a sum");
  expect("=");
  const NodeId from = parse_sum();
  expect("}");
  expect("^");
  const NodeId to = parse_argument();
  const auto bound = bound_names_.insert(variable.text);
  const NodeId body = parse_term();
  bound_names_.erase(bound);
  return nodes_.add(kind, {from, to, body}, variable.text);
}

// The integrand ends at a d that a variable follows: \int_0^1 x^2 dx, also \frac{dx}{x} is left unread.
NodeId Parser::parse_integral() {
  const Level level(*this);
  expect("_");
  const NodeId from = is_sign("-") ? parse_unary() : parse_argument();
  expect("^");
  const NodeId to = is_sign("-") ? parse_unary() : parse_argument();
  std::size_t end = at_;
  int braces = 0;
  for (;; ++end) {
    const Token& token = tokens_[end];
    if (token.kind == TokenKind::end) fail("the d of an integral");
    if (token.kind == TokenKind::sign && (token.text == "{" || token.text == "(")) ++braces;
    if (token.kind == TokenKind::sign && (token.text == "}" || token.text == ")")) --braces;
    if (braces < 0) fail("the d of an integral");
    if (braces == 0 && token.kind == TokenKind::letter && token.text == "d" &&
        tokens_[end + 1].kind == TokenKind::letter)
      break;
  }
  workspace_.steps.charge(end - at_);
  const std::string variable = tokens_[end + 1].text;
  const auto bound = bound_names_.insert(variable);
  // The d is hidden behind an end of tokens while the integrand is read, so that it is no factor of it.
  Token d = std::exchange(tokens_[end], Token{});
  const NodeId integrand = at_ == end ? nodes_.integer(1) : parse_sum();
  if (at_ != end) fail("the d of the integral");
  tokens_[end] = std::move(d);
  at_ = end + 2;
  bound_names_.erase(bound);
  return nodes_.add(Kind::integral, {from, to, integrand}, variable);
}

// Kept as it is written: a limit is equal to the same limit, and is not evaluated.
NodeId Parser::parse_limit() {
  const Level level(*this);
  expect("_");
  expect("{");
  const NodeId variable = parse_postfix();
  expect("->");
  const NodeId target = parse_sum();
  if (!accept("}")) fail("a limit without a side");
  return nodes_.add(Kind::call, {variable, target, parse_term()}, "lim");
}

NodeId Parser::parse_absolute() {
  const Level level(*this);
  ++open_bars_;
  const NodeId inside = parse_sum();
  expect("|");
  --open_bars_;
  return nodes_.add(Kind::function, {inside}, "abs");
}

NodeId Parser::parse_enclosed(std::string_view closer, std::string_view function) {
  const Level level(*this);
  const int bars = std::exchange(open_bars_, 0);
  const NodeId inside = parse_sum();
  expect(closer);
  open_bars_ = bars;
  return nodes_.add(Kind::function, {inside}, std::string(function));
}

}  // namespace athanor::math
