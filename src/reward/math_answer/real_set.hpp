// Sets of real numbers: intervals, finite sets, their unions, intersections and differences, and the solutions of
// relations in one variable. Two are compared by membership: at every end point that either names, close to it on both
// sides, between two and beyond the last. That needs no normal form, and |z| >= 1 is the union of two intervals without
// being solved. Law: a set whose ends are no numbers has no membership, and is compared by its form (compare.cpp).
#pragma once

#include <optional>
#include <string>

#include "src/reward/math_answer/numeric.hpp"

namespace athanor::math {

/// How a list of relations is meant: "x > 1, x < 3" is both, "x < 1, x > 3" one of them.
enum class ListMeaning : std::uint8_t { all_of, any_of };

/// Whether the node names a set of real numbers by itself: an interval, a union, R, or a pair with an infinite end.
bool is_real_set(NodeId root, const Expressions& nodes);

/// Plus or minus infinity as 1 or -1; 0: anything else.
int infinity_sign(NodeId root, const Expressions& nodes);

/// agree, differ, or open where one of them is no set of real numbers with ends that are numbers.
/// Pairs of numbers are read as open intervals. @param tolerance  ends that are no further apart are the same.
Agreement compare_real_sets(NodeId a, NodeId b, ListMeaning meaning, double tolerance, Workspace& workspace);

}  // namespace athanor::math
