// The inner grammar: sums, products, powers, numbers, variables.
#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "src/reward/math_answer/parser.hpp"
#include "src/reward/math_answer/units.hpp"

namespace athanor::math {
namespace {

bool is_integer_literal(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::string lower_case(std::string_view text) {
  std::string lower;
  for (const char c : text)
    if (c != ' ') lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

}  // namespace

NodeId Parser::parse_sum() {
  const Level level(*this);
  unit_.reset();
  std::vector<NodeId> terms;
  for (bool first = true;; first = false) {
    Kind sign = Kind::add;
    if (accept("+-") || (first && is_sign("+") && is_sign("-", 1) && (at_ += 2)))
      sign = Kind::plus_minus;
    else if (accept("-+"))
      sign = Kind::minus_plus;
    else if (accept("-"))
      sign = Kind::negate;
    else if (!accept("+") && !first)
      break;
    const NodeId term = parse_term();
    terms.push_back(sign == Kind::add ? term : nodes_.add(sign, {term}));
  }
  NodeId sum = terms.size() == 1 ? terms[0] : nodes_.add(Kind::add, std::move(terms));
  if (unit_) sum = nodes_.add(Kind::with_unit, {sum}, *std::exchange(unit_, std::nullopt));
  return sum;
}

bool Parser::starts_factor() const {
  const Token& token = peek();
  switch (token.kind) {
    case TokenKind::number:
    case TokenKind::letter:
    case TokenKind::word:
    case TokenKind::text:
      return true;
    case TokenKind::name:
      return token.text != "end" && token.text != "dots" && token.text != "not";
    case TokenKind::sign: {
      if (token.text == "|") return open_bars_ == 0 && !bar_separates_;
      static constexpr std::array<std::string_view, 6> kOpeners{"(", "{", "\\{", "[", "lfloor", "lceil"};
      return std::find(kOpeners.begin(), kOpeners.end(), token.text) != kOpeners.end();
    }
    case TokenKind::end:
      return false;
  }
  return false;
}

bool Parser::is_bare_number(NodeId id) const { return nodes_[id].kind == Kind::number; }

// A unit that goes up to the end of the item is kept for parse_sum.
bool Parser::take_unit_ahead(NodeId before) {
  const TokenKind kind = peek().kind;
  if (kind != TokenKind::letter && kind != TokenKind::word && kind != TokenKind::text && !is_sign("in")) return false;
  workspace_.steps.charge();
  const auto unit = match_unit(tokens_, at_, is_bare_number(before));
  if (!unit) return false;
  workspace_.steps.charge(unit->end - at_);
  if (nodes_[before].kind == Kind::symbol && (kind != TokenKind::text || nodes_[before].text.size() > 1)) return false;
  at_ = unit->end;
  unit_ = unit->written;
  return true;
}

// 1 1/2, 1\frac{1}{2}: read when a whole number stands directly before a fraction of whole numbers.
std::optional<NodeId> Parser::parse_mixed_number(NodeId whole) {
  const Node& before = nodes_[whole];
  if (before.kind != Kind::number || before.decimal || before.exponent10 != 0) return std::nullopt;
  if (peek().kind == TokenKind::number && is_integer_literal(peek().text) && is_sign("/", 1) &&
      peek(2).kind == TokenKind::number && is_integer_literal(peek(2).text)) {
    const NodeId above = number(take().text);
    ++at_;
    const NodeId below = number(take().text);
    return nodes_.add(Kind::add, {whole, nodes_.add(Kind::multiply, {above, nodes_.add(Kind::reciprocal, {below})})});
  }
  if (!is_integer_fraction_ahead()) return std::nullopt;
  return nodes_.add(Kind::add, {whole, parse_primary()});
}

// Looked at, not read and put back: reading twice at every level would take time exponential in the levels.
bool Parser::is_integer_fraction_ahead() const {
  if (!is_name("frac")) return false;
  const auto is_integer = [&](std::size_t ahead) {
    return peek(ahead).kind == TokenKind::number && is_integer_literal(peek(ahead).text);
  };
  std::size_t ahead = 1;
  for (int part = 0; part < 2; ++part) {
    if (is_sign("{", ahead)) {
      if (!is_integer(ahead + 1) || !is_sign("}", ahead + 2)) return false;
      ahead += 3;
    } else if (!is_integer(ahead)) {
      return false;
    } else if (peek(ahead).text.size() > 1) {
      return part == 1 || peek(ahead).text.size() == 2;  // \frac12
    } else {
      ++ahead;
    }
  }
  return true;
}

NodeId Parser::parse_term() {
  std::vector<NodeId> factors{parse_unary()};
  for (bool behind_slash = false;;) {
    if (accept("*")) {
      factors.push_back(parse_unary());
    } else if (accept("/")) {
      factors.push_back(nodes_.add(Kind::reciprocal, {parse_unary()}));
      behind_slash = true;
      continue;
    } else if (accept("mod")) {
      const NodeId left = factors.size() == 1 ? factors[0] : nodes_.add(Kind::multiply, std::move(factors));
      const NodeId right = parse_unary();
      factors = {nodes_.add(Kind::call, {left, right}, "mod")};
    } else if (take_unit_ahead(factors.size() == 1 ? factors[0] : behind_slash ? factors[0] : factors.back())) {
      break;
    } else if (starts_factor()) {
      if (const auto mixed = behind_slash ? std::nullopt : parse_mixed_number(factors.back())) {
        factors.back() = *mixed;
        continue;
      }
      if (peek().kind == TokenKind::number && is_bare_number(factors.back())) fail("an operator between two numbers");
      factors.push_back(parse_power());
    } else {
      break;
    }
    behind_slash = false;
  }
  return factors.size() == 1 ? factors[0] : nodes_.add(Kind::multiply, std::move(factors));
}

NodeId Parser::parse_unary() {
  bool negative = false;
  while (is_sign("-") || is_sign("+")) negative ^= take().text == "-";
  if (accept("+-")) return nodes_.add(Kind::plus_minus, {parse_power()});
  const NodeId value = parse_power();
  return negative ? nodes_.add(Kind::negate, {value}) : value;
}

NodeId Parser::parse_power() {
  const NodeId base = parse_postfix();
  if (!is_sign("^")) return base;
  ++at_;
  const Level level(*this);
  if (accept("deg")) {  // an angle in degrees is compared as a number; so is a temperature
    if (peek().kind == TokenKind::letter && (peek().text == "C" || peek().text == "F")) ++at_;
    return base;
  }
  if (is_sign("{") && is_sign("deg", 1) && is_sign("}", 2)) {
    at_ += 3;
    return base;
  }
  if (peek().kind == TokenKind::letter && peek().text == "T" && nodes_[base].kind == Kind::matrix) {
    ++at_;
    return nodes_.add(Kind::function, {base}, "transpose");
  }
  const NodeId exponent = parse_unary();
  return nodes_.add(Kind::power, {base, exponent});
}

NodeId Parser::parse_postfix() {
  NodeId value = parse_primary();
  constexpr int kMaxSigns = 8;
  for (int signs = 0; signs < kMaxSigns; ++signs) {
    if (accept("!"))
      value = nodes_.add(Kind::factorial, {value});
    else if (accept("%"))
      value = nodes_.add(Kind::percent, {value});
    else if (!accept("deg"))
      return value;
  }
  fail("fewer signs behind a value");
}

NodeId Parser::parse_primary() {
  switch (peek().kind) {
    case TokenKind::number:
      return parse_number();
    case TokenKind::letter:
      return parse_letter();
    case TokenKind::word:
    case TokenKind::text:
      return parse_text();
    case TokenKind::name:
      return parse_named();
    case TokenKind::sign:
      if (accept("(") || accept("[")) return parse_parenthesis();
      if (accept("\\{")) return parse_braced_set("\\}");
      if (accept("|")) return parse_absolute();
      if (accept("lfloor")) return parse_enclosed("rfloor", "floor");
      if (accept("lceil")) return parse_enclosed("rceil", "ceil");
      if (accept("{")) {
        if (accept("}")) return nodes_.add(Kind::set, {});
        const int bars = std::exchange(open_bars_, 0);
        const NodeId inside = parse_list();
        expect("}");
        open_bars_ = bars;
        // {1, 2} without backslashes is what models write for a set.
        if (nodes_[inside].kind == Kind::list && nodes_[inside].text == ",")
          return nodes_.add(Kind::set, nodes_[inside].children);
        return inside;
      }
      break;
    case TokenKind::end:
      break;
  }
  fail("a value");
}

NodeId Parser::number(const std::string& literal) {
  Node node{.kind = Kind::number};
  long exponent = 0;
  std::string_view digits = literal;
  if (const std::size_t e = literal.find('e'); e != std::string::npos) {
    constexpr std::size_t kLongestExponent = 8;  // sign and seven digits; anything longer is no number to compare
    const std::string power = literal.substr(e + 1);
    if (power.size() > kLongestExponent) throw OutOfBudget("an exponent has more digits than are looked at");
    exponent = std::stol(power);
    digits = digits.substr(0, e);
    node.decimal = true;
  }
  for (const char c : digits) {
    if (c == '.') {
      exponent -= static_cast<long>(digits.size() - digits.find('.') - 1);
      node.decimal = true;
    } else {
      node.text += c;
    }
  }
  // One form for one value, so that equal numbers are equal nodes: 05.0 is 5.
  node.text.erase(0, std::min(node.text.find_first_not_of('0'), node.text.size()));
  while (exponent < 0 && node.text.ends_with('0')) node.text.pop_back(), ++exponent;
  if (node.text.empty()) node.text = "0", exponent = 0;
  node.exponent10 = static_cast<int>(exponent);
  return nodes_.add(std::move(node));
}

NodeId Parser::parse_number() {
  const std::string literal = take().text;
  if (is_sign("_") && is_integer_literal(literal)) return nodes_.add(Kind::symbol, {}, literal + parse_subscript());
  // 0.1\overline{6}: the period adds period / (10^length - 1), moved behind the digits.
  if (is_name("overline") && literal.find('.') != std::string::npos && literal.find('e') == std::string::npos) {
    ++at_;
    const bool braced = accept("{");
    const std::string period = take().text;
    if (braced) expect("}");
    constexpr std::size_t kLongestPeriod = 100;
    if (!is_integer_literal(period) || period.size() > kLongestPeriod) fail("digits of a period");
    Node scaled{.kind = Kind::number, .text = std::string(period.size(), '9')};
    scaled.exponent10 = static_cast<int>(literal.size() - literal.find('.') - 1);
    const NodeId below = nodes_.add(Kind::reciprocal, {nodes_.add(std::move(scaled))});
    return nodes_.add(Kind::add, {number(literal), nodes_.add(Kind::multiply, {number(period), below})});
  }
  return number(literal);
}

std::string Parser::parse_subscript() {
  expect("_");
  std::string name = "_";
  constexpr std::size_t kLongest = 64;
  if (!accept("{")) return name + take().text;
  while (!accept("}")) {
    name += take().text;
    if (name.size() > kLongest) fail("a shorter subscript");
  }
  return name;
}

NodeId Parser::parse_letter() {
  std::string name = take().text;
  const bool bound = bound_names_.contains(name);
  if (is_sign("_")) name += parse_subscript();
  while (accept("'")) name += "'";
  if (is_sign("^") && is_sign("'", 1)) {
    ++at_;
    while (accept("'")) name += "'";
  }
  if (!bound && name == "e") return nodes_.add(Kind::euler, {});
  if (!bound && name == "i") return nodes_.add(Kind::imaginary, {});
  if (is_sign("(") && !peek().space_before && !bound) {
    static constexpr std::string_view kFunctionNames = "fghFGH";
    const bool function = kFunctionNames.find(name[0]) != std::string_view::npos && name[0] != '\\';
    if (function) return nodes_.add(Kind::call, parse_function_arguments(), name);
    if (name == "C") {
      std::vector<NodeId> arguments = parse_function_arguments();
      if (arguments.size() == 2) return nodes_.add(Kind::binomial, std::move(arguments));
      if (arguments.size() != 1) fail("one factor or two arguments behind C");
      return nodes_.add(Kind::multiply, {nodes_.add(Kind::symbol, {}, name), arguments[0]});
    }
  }
  return nodes_.add(Kind::symbol, {}, name);
}

// Words are names, whatever their case: "Paris", \text{paris}.
NodeId Parser::parse_text() {
  std::string name = take().text;
  if (name.size() > 1) name = lower_case(name);
  if (is_sign("_")) name += parse_subscript();
  return nodes_.add(Kind::symbol, {}, name);
}

}  // namespace athanor::math
