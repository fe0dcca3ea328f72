// Tokens to a tree. Recursive descent; every descent into a parenthesis, brace, exponent or argument counts as one
// level, and levels are bounded, so the stack is.
//
//   answer   = list (';' list)*                          list   = item ((',' | and | or) item)*
//   item     = sets (relation sets)*                     sets   = ratio ((cup | cap | setminus) ratio)*
//   ratio    = sum (':' sum)*                            sum    = [sign] term ((+ | - | +-) term)* [unit]
//   term     = unary ((* | / | nothing) unary)*          unary  = (+ | -)* power
//   power    = postfix ['^' unary]                       postfix = primary (! | % | degree | prime)*
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "src/reward/math_answer/expression.hpp"
#include "src/reward/math_answer/tokenizer.hpp"

namespace athanor::math {

class Parser {
 public:
  Parser(std::vector<Token> tokens, Workspace& workspace);

  /// @throws Unreadable, OutOfBudget.
  NodeId parse_answer();

 private:
  class Level;  // one nesting level while it lives

  // parse_answer.cpp
  NodeId parse_list();
  NodeId parse_item();
  NodeId parse_sets();
  NodeId parse_ratio();
  NodeId parse_parenthesis();
  NodeId parse_braced_set(std::string_view closer);
  NodeId parse_matrix();
  std::vector<NodeId> parse_comma_items(std::string& separator);

  // parse_terms.cpp
  NodeId parse_sum();
  NodeId parse_term();
  NodeId parse_unary();
  NodeId parse_power();
  NodeId parse_postfix();
  NodeId parse_primary();
  NodeId parse_number();
  NodeId parse_letter();
  NodeId parse_text();
  std::string parse_subscript();
  bool starts_factor() const;
  bool take_unit_ahead(NodeId before);
  bool is_bare_number(NodeId id) const;
  std::optional<NodeId> parse_mixed_number(NodeId whole);
  bool is_integer_fraction_ahead() const;

  // parse_constructs.cpp
  NodeId parse_named();
  NodeId parse_function(const std::string& name);
  NodeId parse_function_argument();
  std::vector<NodeId> parse_function_arguments();
  NodeId parse_argument();
  NodeId parse_root();
  NodeId parse_series(Kind kind);
  NodeId parse_integral();
  NodeId parse_limit();
  NodeId parse_absolute();
  NodeId parse_enclosed(std::string_view closer, std::string_view function);

  const Token& peek(std::size_t ahead = 0) const;
  bool is_sign(std::string_view text, std::size_t ahead = 0) const;
  bool is_name(std::string_view text, std::size_t ahead = 0) const;
  bool accept(std::string_view sign);
  void expect(std::string_view sign);
  [[noreturn]] void fail(const std::string& wanted) const;
  Token take();
  NodeId number(const std::string& literal);

  std::vector<Token> tokens_;
  Workspace& workspace_;
  Expressions& nodes_;
  std::size_t at_ = 0, depth_ = 0;
  int open_bars_ = 0;                       // |...| in this parenthesis: the next bar closes
  bool bar_separates_ = false;              // {x | ...}
  bool colon_separates_ = false;            // {x : ...}
  std::optional<std::string> unit_;         // found behind the term that was parsed last
  std::multiset<std::string> bound_names_;  // variables of sums, so that i and e can be such
};

/// The answer in `text` (see unicode_to_latex). @throws Unreadable, OutOfBudget.
NodeId parse_answer(std::string_view text, const Reading& reading, Workspace& workspace);

/// Levels are counted while they are open.
class Parser::Level {
 public:
  explicit Level(Parser& parser) : parser_(parser) {
    if (++parser_.depth_ > parser_.workspace_.limits.max_depth) {
      --parser_.depth_;
      throw OutOfBudget("an answer is nested more deeply than it is read");
    }
  }
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;
  ~Level() { --parser_.depth_; }

 private:
  Parser& parser_;
};

}  // namespace athanor::math
