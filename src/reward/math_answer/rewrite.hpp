// Expressions written out: both values of a plus-minus sign, and matrices with their entries worked out.
#pragma once

#include <optional>
#include <vector>

#include "src/reward/math_answer/expression.hpp"

namespace athanor::math {

/// The expression with every plus-minus as plus (and minus-plus as minus), then the other way round; empty where there
/// is no such sign. @throws OutOfBudget.
std::vector<NodeId> sign_variants(NodeId root, Workspace& workspace);

struct Matrix {
  std::size_t rows = 0, columns = 0;
  std::vector<NodeId> entries{};  ///< row by row
};

/// The value of sums, products, multiples, whole powers and transposes of matrices; nullopt: it is no matrix, or shapes
/// do not fit. @throws OutOfBudget.
std::optional<Matrix> matrix_value(NodeId root, Workspace& workspace);

/// The expression without determinants: each expanded along its first row, up to 5 by 5. @throws OutOfBudget.
NodeId without_determinants(NodeId root, Workspace& workspace);

}  // namespace athanor::math
