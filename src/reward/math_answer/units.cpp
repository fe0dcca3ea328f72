#include "src/reward/math_answer/units.hpp"

#include <algorithm>
#include <array>
#include <cctype>

namespace athanor::math {
namespace {

struct Unit {
  std::string_view names;      // separated by blanks; plurals with s are found too
  std::string_view dimension;  // of the base unit; with `power`
  std::int64_t numerator = 1, denominator = 1;
  int power = 1;
};

// Factors are exact, to a base unit of each dimension: millimetre, milligram, millisecond; litres are cubic lengths.
constexpr std::array kUnits{Unit{"mm millimeter millimetre", "length"},
                            Unit{"cm centimeter centimetre", "length", 10},
                            Unit{"dm decimeter", "length", 100},
                            Unit{"m meter metre", "length", 1000},
                            Unit{"km kilometer kilometre", "length", 1'000'000},
                            Unit{"in inch inches", "length", 127, 5},
                            Unit{"ft foot feet", "length", 1524, 5},
                            Unit{"yd yard", "length", 4572, 5},
                            Unit{"mi mile", "length", 1'609'344},
                            Unit{"mg milligram", "mass"},
                            Unit{"g gram", "mass", 1000},
                            Unit{"kg kilogram", "mass", 1'000'000},
                            Unit{"lb lbs pound", "mass", 45'359'237, 100},
                            Unit{"oz ounce", "mass", 45'359'237, 1600},
                            Unit{"ton tonne", "ton"},
                            Unit{"ms millisecond", "time"},
                            Unit{"s sec second", "time", 1000},
                            Unit{"min mins minute", "time", 60'000},
                            Unit{"h hr hrs hour", "time", 3'600'000},
                            Unit{"day", "time", 86'400'000},
                            Unit{"week", "time", 604'800'000},
                            Unit{"month", "month"},
                            Unit{"yr year", "month", 12},
                            Unit{"mL ml milliliter millilitre", "length", 1000, 1, 3},
                            Unit{"L liter litre", "length", 1'000'000, 1, 3},
                            Unit{"gal gallon", "gallon"},
                            Unit{"quart", "gallon", 1, 4},
                            Unit{"cent", "money"},
                            Unit{"dollar usd USD", "money", 100},
                            Unit{"euro EUR", "euro"},
                            Unit{"yuan RMB 元", "yuan"},
                            Unit{"deg degree 度", "angle"},
                            Unit{"rad radian", "radian"},
                            Unit{"N newton", "newton"},
                            Unit{"J joule", "joule"},
                            Unit{"kJ kilojoule", "joule", 1000},
                            Unit{"W watt", "watt"},
                            Unit{"kW kilowatt", "watt", 1000},
                            Unit{"V volt", "volt"},
                            Unit{"A ampere amp", "ampere"},
                            Unit{"Pa pascal", "pascal"},
                            Unit{"kPa", "pascal", 1000},
                            Unit{"Hz hertz", "hertz"},
                            Unit{"mol mole", "mole"},
                            Unit{"C celsius Celsius", "celsius"},
                            Unit{"F fahrenheit Fahrenheit", "fahrenheit"},
                            Unit{"K kelvin", "kelvin"},
                            Unit{"mph", "mph"},
                            Unit{"acre", "acre"},
                            Unit{"厘米", "length", 10},
                            Unit{"米", "length", 1000},
                            Unit{"千米 公里", "length", 1'000'000},
                            Unit{"克", "mass", 1000},
                            Unit{"千克 公斤", "mass", 1'000'000},
                            Unit{"秒", "time", 1000},
                            Unit{"分钟", "time", 60'000},
                            Unit{"小时", "time", 3'600'000},
                            Unit{"unit 个 只 人", ""}};

const Unit* find_unit(std::string_view word) {
  const auto among = [&](const Unit& unit, std::string_view wanted) {
    for (std::string_view names = unit.names; !names.empty();) {
      const std::size_t blank = names.find(' ');
      if (names.substr(0, blank) == wanted) return true;
      names = blank == std::string_view::npos ? std::string_view{} : names.substr(blank + 1);
    }
    return false;
  };
  for (const Unit& unit : kUnits)
    if (among(unit, word)) return &unit;
  std::string lower(word);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  constexpr std::size_t kShortestSpelled = 3;  // "M" is not "m", "Meters" are "meters"
  if (lower.size() < kShortestSpelled) return nullptr;
  const std::string_view singular = lower.ends_with('s') ? std::string_view(lower).substr(0, lower.size() - 1) : lower;
  for (const Unit& unit : kUnits)
    if (among(unit, lower) || among(unit, singular)) return &unit;
  return nullptr;
}

bool ends_item(const Token& token) {
  if (token.kind == TokenKind::end) return true;
  static constexpr std::array<std::string_view, 19> kEnds{
      ",", ";", ")", "]", "\\}", "}", "=", "<", ">", "<=", ">=", "!=", "and", "or", "&", "\\\\", "cup", "cap", "."};
  return token.kind == TokenKind::sign && std::find(kEnds.begin(), kEnds.end(), token.text) != kEnds.end();
}

}  // namespace

std::optional<UnitMatch> match_unit(const std::vector<Token>& tokens, std::size_t begin, bool bare_number) {
  UnitMatch match{begin, {}};
  bool has_word = false;
  constexpr std::size_t kMostTokens = 24;  // longer ones are prose; every factor of a product looks for a unit
  for (std::size_t& i = match.end; !ends_item(tokens[i]);) {
    if (i - begin > kMostTokens) return std::nullopt;
    const Token& token = tokens[i];
    if (token.kind == TokenKind::text || token.kind == TokenKind::word) {
      match.written += " " + token.text;
      has_word = true;
      ++i;
    } else if (token.kind == TokenKind::letter && !token.run.empty() && (find_unit(token.run) || has_word)) {
      match.written += " " + token.run;
      has_word = true;
      i += token.run.size();
    } else if (token.kind == TokenKind::letter && token.run.empty() && find_unit(token.text) && bare_number &&
               (has_word || token.space_before || (i > begin && tokens[i - 1].text == "/"))) {
      match.written += " " + token.text;
      has_word = true;
      ++i;
    } else if (has_word && token.kind == TokenKind::sign && (token.text == "/" || token.text == "*")) {
      if (token.text == "/") match.written += " /";
      ++i;
    } else if (token.text == "in" && token.kind == TokenKind::sign) {
      if (!has_word && !ends_item(tokens[i + 1])) return std::nullopt;  // "x in [0, 1]"
      match.written += " in";
      has_word = true;
      ++i;
    } else if (has_word && token.kind == TokenKind::sign && token.text == "^") {
      std::size_t j = i + 1;
      const bool braced = tokens[j].text == "{";
      if (braced) ++j;
      const bool negative = tokens[j].text == "-";
      if (negative) ++j;
      if (tokens[j].kind != TokenKind::number || tokens[j].text.size() != 1) return std::nullopt;
      match.written += std::string(negative ? " ^-" : " ^") + tokens[j].text;
      if (braced && tokens[++j].text != "}") return std::nullopt;
      i = j + 1;
    } else {
      return std::nullopt;
    }
  }
  if (!has_word) return std::nullopt;
  return match;
}

UnitMeasure measure_of(std::string_view written) {
  constexpr std::int64_t kMaxFactor = std::int64_t{1} << 40;
  UnitMeasure measure;
  int direction = 1, next_power = 1;
  std::string last_dimension;
  const auto apply = [&](const Unit& unit, int power) {
    if (!unit.dimension.empty()) measure.dimensions[std::string(unit.dimension)] += unit.power * power;
    for (int k = 0; k < std::abs(power); ++k) {
      std::int64_t& up = power > 0 ? measure.numerator : measure.denominator;
      std::int64_t& down = power > 0 ? measure.denominator : measure.numerator;
      if (up > kMaxFactor / unit.numerator || down > kMaxFactor / unit.denominator) {
        measure.named = true;
        return;
      }
      up *= unit.numerator;
      down *= unit.denominator;
    }
  };
  const Unit* last = nullptr;
  int last_power = 1;
  std::size_t i = 0;
  while (i < written.size()) {
    const char c = written[i];
    if (c == ' ' || c == '.' || c == '(' || c == ')' || c == '{' || c == '}' || c == '\\' || c == '~' || c == ',') {
      ++i;
    } else if (c == '/') {
      direction = -1, ++i;
    } else if (c == '^') {
      ++i;
      if (i < written.size() && written[i] == '{') ++i;
      const bool negative = i < written.size() && written[i] == '-';
      if (negative) ++i;
      if (i < written.size() && written[i] >= '1' && written[i] <= '9' && last) {
        const int exponent = (negative ? -1 : 1) * (written[i] - '0');
        apply(*last, last_power * (exponent - 1));
      }
      ++i;
    } else {
      std::size_t end = i;
      while (end < written.size() && written.find_first_of(" ./^(){}\\~,", end) != end) ++end;
      const std::string_view word = written.substr(i, end - i);
      i = end;
      if (word == "per") {
        direction = -1;
      } else if (word == "square" || word == "sq" || word == "Square") {
        next_power = 2;
      } else if (word == "cubic" || word == "cu" || word == "Cubic") {
        next_power = 3;
      } else if (const Unit* unit = find_unit(word)) {
        last = unit;
        last_power = direction * next_power;
        apply(*unit, last_power);
        next_power = 1;
      } else {
        measure.named = true;
      }
    }
  }
  std::erase_if(measure.dimensions, [](const auto& entry) { return entry.second == 0; });
  return measure;
}

}  // namespace athanor::math
