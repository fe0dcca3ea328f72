// The outer grammar: lists, relations, sets, intervals, matrices.
#include <algorithm>
#include <utility>

#include "src/reward/math_answer/parser.hpp"

namespace athanor::math {
namespace {

/// One character a relation, as nodes keep them; 0: the sign is none.
char relation_code(const Token& token) {
  if (token.kind != TokenKind::sign) return 0;
  if (token.text == "=" || token.text == "<" || token.text == ">") return token.text[0];
  if (token.text == "<=") return 'l';
  if (token.text == ">=") return 'g';
  if (token.text == "!=") return '!';
  if (token.text == "in") return 'e';
  return 0;
}

}  // namespace

NodeId parse_answer(std::string_view text, const Reading& reading, Workspace& workspace) {
  return Parser(tokenize(text, reading), workspace).parse_answer();
}

Parser::Parser(std::vector<Token> tokens, Workspace& workspace)
    : tokens_(std::move(tokens)), workspace_(workspace), nodes_(workspace.nodes) {}

const Token& Parser::peek(std::size_t ahead) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }

bool Parser::is_sign(std::string_view text, std::size_t ahead) const {
  return peek(ahead).kind == TokenKind::sign && peek(ahead).text == text;
}

bool Parser::is_name(std::string_view text, std::size_t ahead) const {
  return peek(ahead).kind == TokenKind::name && peek(ahead).text == text;
}

bool Parser::accept(std::string_view sign) {
  if (!is_sign(sign)) return false;
  ++at_;
  return true;
}

void Parser::expect(std::string_view sign) {
  if (!accept(sign)) fail(std::string(sign));
}

void Parser::fail(const std::string& wanted) const {
  throw Unreadable("answer: expected " + wanted + " and found '" + peek().text + "' at token " + std::to_string(at_));
}

Token Parser::take() {
  if (peek().kind == TokenKind::end) fail("more");
  return tokens_[at_++];
}

NodeId Parser::parse_answer() {
  std::vector<NodeId> groups{parse_list()};
  while (accept(";"))
    if (peek().kind != TokenKind::end) groups.push_back(parse_list());
  if (peek().kind != TokenKind::end) fail("the end");
  return groups.size() == 1 ? groups[0] : nodes_.add(Kind::list, std::move(groups), ",");
}

std::vector<NodeId> Parser::parse_comma_items(std::string& separator) {
  std::vector<NodeId> items{parse_item()};
  separator = ",";
  for (;;) {
    bool separated = accept(",");
    if (accept("or"))
      separated = true, separator = "or";
    else if (accept("and"))
      separated = true;
    if (!separated) return items;
    items.push_back(parse_item());
  }
}

NodeId Parser::parse_list() {
  const Level level(*this);
  std::string separator;
  std::vector<NodeId> items = parse_comma_items(separator);
  return items.size() == 1 ? items[0] : nodes_.add(Kind::list, std::move(items), separator);
}

NodeId Parser::parse_item() {
  accept("=");  // "= 5"
  std::vector<NodeId> operands{parse_sets()};
  std::string relations;
  for (char code = relation_code(peek()); code != 0; code = relation_code(peek())) {
    ++at_;
    relations += code;
    operands.push_back(parse_sets());
  }
  return relations.empty() ? operands[0] : nodes_.add(Kind::relation, std::move(operands), relations);
}

NodeId Parser::parse_sets() {
  NodeId left = parse_ratio();
  for (int joined = 0;;) {
    const bool is_union = is_sign("cup");
    if (!is_union && !is_sign("cap") && !is_sign("setminus")) return left;
    constexpr int kMaxJoined = 20;
    if (++joined > kMaxJoined) throw OutOfBudget("an answer joins more sets than are looked at");
    const Kind kind = is_union ? Kind::set_union : is_sign("cap") ? Kind::intersection : Kind::difference;
    ++at_;
    left = nodes_.add(kind, {left, parse_ratio()});
  }
}

NodeId Parser::parse_ratio() {
  std::vector<NodeId> parts{parse_sum()};
  while (!colon_separates_ && accept(":")) parts.push_back(parse_sum());
  return parts.size() == 1 ? parts[0] : nodes_.add(Kind::ratio, std::move(parts));
}

// "(" or "[" was taken: a group in parentheses, a tuple, an interval.
NodeId Parser::parse_parenthesis() {
  const Level level(*this);
  const bool round = tokens_[at_ - 1].text == "(";
  const int bars = std::exchange(open_bars_, 0);
  const bool colon = std::exchange(colon_separates_, false), bar = std::exchange(bar_separates_, false);
  std::string separator;
  std::vector<NodeId> items;
  if (!is_sign(")") && !is_sign("]")) items = parse_comma_items(separator);
  if (items.size() == 1 && accept(";")) {  // [1; 2], a way to write intervals
    items.push_back(parse_item());
  }
  const bool round_end = accept(")");
  if (!round_end) expect("]");
  open_bars_ = bars, colon_separates_ = colon, bar_separates_ = bar;
  if (items.size() == 2 && !(round && round_end))
    return nodes_.add(Kind::interval, std::move(items), std::string(round ? "(" : "[") + (round_end ? ")" : "]"));
  if (round != round_end) fail("the matching parenthesis");
  if (items.size() == 1 && round) return items[0];
  return nodes_.add(Kind::tuple, std::move(items));
}

// The brace was taken: elements, or {x | condition}.
NodeId Parser::parse_braced_set(std::string_view closer) {
  const Level level(*this);
  if (accept(closer)) return nodes_.add(Kind::set, {});
  const int bars = std::exchange(open_bars_, 0);
  // A bar or colon behind the first variable begins a condition; "x in R" may stand before it.
  std::size_t ahead = 1;
  if (is_sign("in", ahead) && is_name("reals", ahead + 1)) ahead += 2;
  const bool has_condition =
      peek().kind == TokenKind::letter && (is_sign("|", ahead) || is_sign(":", ahead) || is_sign("mid", ahead));
  if (has_condition) at_ += ahead + 1;
  std::string separator;
  std::vector<NodeId> items = parse_comma_items(separator);
  expect(closer);
  open_bars_ = bars;
  if (has_condition) return items.size() == 1 ? items[0] : nodes_.add(Kind::list, std::move(items), separator);
  return nodes_.add(Kind::set, std::move(items));
}

// \begin was taken.
NodeId Parser::parse_matrix() {
  const Level level(*this);
  const std::string environment = tokens_[at_ - 1].run;
  const bool bars = environment == "vmatrix";
  if (environment != "pmatrix" && environment != "bmatrix" && environment != "matrix" && environment != "array" &&
      environment != "smallmatrix" && environment != "Bmatrix" && !bars)
    throw Unreadable("answer: \\begin{" + environment + "} is no matrix");
  std::vector<NodeId> entries;
  std::size_t columns = 0, in_row = 0;
  const auto end_row = [&] {
    if (columns == 0) columns = in_row;
    if (in_row != columns) throw Unreadable("answer: rows of a matrix have different lengths");
    in_row = 0;
  };
  while (!is_name("end")) {
    entries.push_back(parse_item());
    ++in_row;
    if (accept("\\\\"))
      end_row();
    else if (!is_name("end"))
      expect("&");
  }
  if (in_row > 0) end_row();
  ++at_;
  if (entries.empty()) fail("a matrix with entries");
  const NodeId matrix =
      nodes_.add(Node{.kind = Kind::matrix, .children = std::move(entries), .exponent10 = static_cast<int>(columns)});
  return bars ? nodes_.add(Kind::function, {matrix}, "det") : matrix;
}

}  // namespace athanor::math
