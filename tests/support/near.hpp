// Comparing what a device computed with a reference. Law: a bound is stated with its reason where it is used; a failure
// prints the worst index, both values and the bound.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <sstream>
#include <vector>

namespace athanor {

/// |found - wanted| <= absolute + relative * |wanted|.
struct Bound {
  double absolute = 0.0, relative = 0.0;
  double at(double wanted) const { return absolute + relative * std::abs(wanted); }
};

/// EXPECT_TRUE(near(found, wanted, {1e-6, 1e-5})). NaN is near nothing; infinities are near themselves.
inline testing::AssertionResult near(const std::vector<double>& found, const std::vector<double>& wanted,
                                     const Bound& bound) {
  if (found.size() != wanted.size())
    return testing::AssertionFailure() << found.size() << " values, wanted " << wanted.size();
  std::size_t worst = 0, failures = 0;
  double worst_excess = -INFINITY;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i] == wanted[i]) continue;
    const double excess = std::abs(found[i] - wanted[i]) - bound.at(wanted[i]);
    if (excess <= 0.0) continue;
    ++failures;
    if (std::isnan(excess) || excess > worst_excess) {
      worst = i;
      worst_excess = std::isnan(excess) ? INFINITY : excess;
    }
  }
  if (failures == 0) return testing::AssertionSuccess();
  std::ostringstream text;
  text.precision(17);
  text << failures << " of " << found.size() << " values off; worst at " << worst << ": found " << found[worst]
       << ", wanted " << wanted[worst] << ", difference " << found[worst] - wanted[worst] << ", bound "
       << bound.at(wanted[worst]) << " (" << bound.absolute << " + " << bound.relative << " * |wanted|)";
  return testing::AssertionFailure() << text.str();
}

}  // namespace athanor
