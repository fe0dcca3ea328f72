#include "src/reward/math_answer/vocabulary.hpp"

#include <algorithm>
#include <array>

namespace athanor::math {
namespace {

struct Entry {
  std::string_view written, text;
};

template <std::size_t N>
std::string_view find_in(const std::array<Entry, N>& table, std::string_view written) {
  const auto found = std::find_if(table.begin(), table.end(), [&](const Entry& e) { return e.written == written; });
  return found == table.end() ? std::string_view{} : found->text;
}

template <std::size_t N>
bool is_in(const std::array<std::string_view, N>& table, std::string_view written) {
  return std::find(table.begin(), table.end(), written) != table.end();
}

constexpr std::array kFunctions{
    Entry{"sin", "sin"},     Entry{"cos", "cos"},   Entry{"tan", "tan"},     Entry{"cot", "cot"},
    Entry{"sec", "sec"},     Entry{"csc", "csc"},   Entry{"arcsin", "asin"}, Entry{"asin", "asin"},
    Entry{"arccos", "acos"}, Entry{"acos", "acos"}, Entry{"arctan", "atan"}, Entry{"atan", "atan"},
    Entry{"sinh", "sinh"},   Entry{"cosh", "cosh"}, Entry{"tanh", "tanh"},   Entry{"ln", "ln"},
    Entry{"log", "log"},     Entry{"lg", "lg"},     Entry{"exp", "exp"},     Entry{"abs", "abs"},
    Entry{"floor", "floor"}, Entry{"ceil", "ceil"}, Entry{"max", "max"},     Entry{"min", "min"},
    Entry{"gcd", "gcd"},     Entry{"lcm", "lcm"},   Entry{"cosec", "csc"},   Entry{"factorial", "factorial"}};

constexpr std::array kSigns{Entry{"times", "*"},
                            Entry{"cdot", "*"},
                            Entry{"ast", "*"},
                            Entry{"star", "*"},
                            Entry{"div", "/"},
                            Entry{"over", "/"},
                            Entry{"pm", "+-"},
                            Entry{"mp", "-+"},
                            Entry{"le", "<="},
                            Entry{"leq", "<="},
                            Entry{"leqslant", "<="},
                            Entry{"ge", ">="},
                            Entry{"geq", ">="},
                            Entry{"geqslant", ">="},
                            Entry{"lt", "<"},
                            Entry{"gt", ">"},
                            Entry{"ne", "!="},
                            Entry{"neq", "!="},
                            Entry{"approx", "="},
                            Entry{"equiv", "="},
                            Entry{"simeq", "="},
                            Entry{"in", "in"},
                            Entry{"cup", "cup"},
                            Entry{"cap", "cap"},
                            Entry{"setminus", "setminus"},
                            Entry{"backslash", "setminus"},
                            Entry{"mid", "mid"},
                            Entry{"vert", "|"},
                            Entry{"lvert", "|"},
                            Entry{"rvert", "|"},
                            Entry{"lfloor", "lfloor"},
                            Entry{"rfloor", "rfloor"},
                            Entry{"lceil", "lceil"},
                            Entry{"rceil", "rceil"},
                            Entry{"langle", "("},
                            Entry{"rangle", ")"},
                            Entry{"lbrace", "\\{"},
                            Entry{"rbrace", "\\}"},
                            Entry{"lbrack", "["},
                            Entry{"rbrack", "]"},
                            Entry{"lparen", "("},
                            Entry{"rparen", ")"},
                            Entry{"to", "->"},
                            Entry{"rightarrow", "->"},
                            Entry{"wedge", "and"},
                            Entry{"land", "and"},
                            Entry{"vee", "or"},
                            Entry{"lor", "or"},
                            Entry{"bmod", "mod"},
                            Entry{"mod", "mod"},
                            Entry{"pmod", "mod"},
                            Entry{"circ", "deg"},
                            Entry{"degree", "deg"},
                            Entry{"prime", "'"},
                            Entry{"colon", ":"},
                            Entry{"percent", "%"}};

constexpr std::array kNames{Entry{"frac", "frac"},
                            Entry{"dfrac", "frac"},
                            Entry{"tfrac", "frac"},
                            Entry{"cfrac", "frac"},
                            Entry{"sqrt", "sqrt"},
                            Entry{"binom", "binom"},
                            Entry{"dbinom", "binom"},
                            Entry{"tbinom", "binom"},
                            Entry{"sum", "sum"},
                            Entry{"prod", "prod"},
                            Entry{"int", "int"},
                            Entry{"lim", "lim"},
                            Entry{"pi", "pi"},
                            Entry{"infty", "infinity"},
                            Entry{"emptyset", "emptyset"},
                            Entry{"varnothing", "emptyset"},
                            Entry{"overline", "overline"},
                            Entry{"dot", "overline"},
                            Entry{"dots", "dots"},
                            Entry{"ldots", "dots"},
                            Entry{"cdots", "dots"},
                            Entry{"boxed", "boxed"},
                            Entry{"not", "not"}};

constexpr std::array<std::string_view, 44> kDecoration{
    "left",         "right",     "bigl",       "bigr",     "Bigl",
    "Bigr",         "big",       "Big",        "bigg",     "Bigg",
    "biggl",        "biggr",     "Biggl",      "Biggr",    "middle",
    "displaystyle", "textstyle", "limits",     "nolimits", "quad",
    "qquad",        "mathbf",    "boldsymbol", "vec",      "overrightarrow",
    "hat",          "bar",       "mathcal",    "mathsf",   "bm",
    "hspace",       "rm",        "bf",         "it",       "scriptstyle",
    "small",        "large",     "thinspace",  "enspace",  "mathstrut",
    "hfill",        "euro",      "pounds",     "yen"};

constexpr std::array<std::string_view, 12> kText{"text",   "textbf", "textit", "textrm", "textsf",       "textup",
                                                 "mathrm", "mathit", "mbox",   "hbox",   "operatorname", "textnormal"};

}  // namespace

std::string_view known_function(std::string_view name) { return find_in(kFunctions, name); }

bool is_text_command(std::string_view command) { return is_in(kText, command); }

std::optional<Meaning> latex_command(std::string_view command) {
  if (is_in(kDecoration, command)) return Meaning{TokenKind::end, {}};
  if (const auto text = find_in(kSigns, command); !text.empty()) return Meaning{TokenKind::sign, text};
  if (const auto text = find_in(kNames, command); !text.empty()) return Meaning{TokenKind::name, text};
  if (const auto text = known_function(command); !text.empty()) return Meaning{TokenKind::name, text};
  return std::nullopt;
}

std::optional<Meaning> plain_word(std::string_view run) {
  static constexpr std::array kPlainSigns{Entry{"and", "and"},   Entry{"or", "or"},   Entry{"mod", "mod"},
                                          Entry{"percent", "%"}, Entry{"pct", "%"},   Entry{"percentage", "%"},
                                          Entry{"in", "in"},     Entry{"cup", "cup"}, Entry{"union", "cup"}};
  static constexpr std::array kPlainNames{
      Entry{"pi", "pi"},        Entry{"sqrt", "sqrt"},   Entry{"infinity", "infinity"}, Entry{"infty", "infinity"},
      Entry{"inf", "infinity"}, Entry{"oo", "infinity"}, Entry{"Infinity", "infinity"}, Entry{"sum", "sum"},
      Entry{"binom", "binom"}};
  if (const auto text = find_in(kPlainSigns, run); !text.empty()) return Meaning{TokenKind::sign, text};
  if (const auto text = find_in(kPlainNames, run); !text.empty()) return Meaning{TokenKind::name, text};
  if (const auto text = known_function(run); !text.empty()) return Meaning{TokenKind::name, text};
  return std::nullopt;
}

std::string_view leading_function(std::string_view run) {
  static constexpr std::array<std::string_view, 9> kHeads{"sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "pi"};
  for (const auto head : kHeads)
    if (run.size() > head.size() && run.size() <= head.size() + 2 && run.starts_with(head) && head != "pi") return head;
  return {};
}

}  // namespace athanor::math
