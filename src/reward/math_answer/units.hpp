// Units behind a number: "cm", "km/h", "square feet", "\text{ cm}^2". A unit on one side only does not count; two units
// count, and convert where both are known (1 m is 100 cm).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "src/reward/math_answer/tokenizer.hpp"

namespace athanor::math {

/// What a unit measures, as exponents of base units, and how many of them it is: factor = numerator / denominator.
struct UnitMeasure {
  std::map<std::string, int> dimensions;
  std::int64_t numerator = 1, denominator = 1;
  bool named = false;  ///< contains words that are no known unit ("apples"): compatible with everything
};

struct UnitMatch {
  std::size_t end;      ///< first token behind the unit
  std::string written;  ///< for measure_of
};

/// The unit that tokens[begin] and the following are, up to the end of the item (a comma, a closing sign, a relation or
/// the end of the answer); nullopt when they are something else. One letter is a unit only behind a blank or in \text.
/// @param bare_number  what stands before is a number alone.
std::optional<UnitMatch> match_unit(const std::vector<Token>& tokens, std::size_t begin, bool bare_number);

/// The measure of a unit as match_unit() has written it.
UnitMeasure measure_of(std::string_view written);

}  // namespace athanor::math
