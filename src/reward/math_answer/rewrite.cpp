#include "src/reward/math_answer/rewrite.hpp"

#include <algorithm>

namespace athanor::math {
namespace {

/// The same node over other children; the node itself where they are the same.
NodeId with_children(NodeId root, std::vector<NodeId> children, Expressions& nodes) {
  if (children == nodes[root].children) return root;
  Node copy = nodes[root];
  copy.children = std::move(children);
  return nodes.add(std::move(copy));
}

template <class Rewrite>
NodeId rewrite_children(NodeId root, Workspace& workspace, const Rewrite& rewrite) {
  workspace.steps.charge();
  std::vector<NodeId> children;
  for (const NodeId child : workspace.nodes[root].children) children.push_back(rewrite(child));
  return with_children(root, std::move(children), workspace.nodes);
}

NodeId with_sign(NodeId root, bool upper, Workspace& workspace) {
  const Node& node = workspace.nodes[root];
  if (node.kind == Kind::plus_minus || node.kind == Kind::minus_plus) {
    const NodeId value = with_sign(node.children[0], upper, workspace);
    return (node.kind == Kind::plus_minus) == upper ? value : workspace.nodes.add(Kind::negate, {value});
  }
  return rewrite_children(root, workspace, [&](NodeId child) { return with_sign(child, upper, workspace); });
}

Matrix add_matrices(const Matrix& a, const Matrix& b, Workspace& workspace) {
  Matrix sum{a.rows, a.columns, {}};
  for (std::size_t i = 0; i < a.entries.size(); ++i)
    sum.entries.push_back(workspace.nodes.add(Kind::add, {a.entries[i], b.entries[i]}));
  return sum;
}

Matrix multiply_matrices(const Matrix& a, const Matrix& b, Workspace& workspace) {
  Matrix product{a.rows, b.columns, {}};
  for (std::size_t i = 0; i < a.rows; ++i)
    for (std::size_t j = 0; j < b.columns; ++j) {
      std::vector<NodeId> terms;
      for (std::size_t k = 0; k < a.columns; ++k)
        terms.push_back(
            workspace.nodes.add(Kind::multiply, {a.entries[i * a.columns + k], b.entries[k * b.columns + j]}));
      product.entries.push_back(workspace.nodes.add(Kind::add, std::move(terms)));
    }
  return product;
}

Matrix scale_matrix(Matrix matrix, NodeId factor, Workspace& workspace) {
  for (NodeId& entry : matrix.entries) entry = workspace.nodes.add(Kind::multiply, {factor, entry});
  return matrix;
}

std::optional<Matrix> sum_value(const Node& node, Workspace& workspace) {
  std::optional<Matrix> sum;
  for (const NodeId child : node.children) {
    const auto term = matrix_value(child, workspace);
    if (!term || (sum && (sum->rows != term->rows || sum->columns != term->columns))) return std::nullopt;
    sum = sum ? add_matrices(*sum, *term, workspace) : *term;
  }
  return sum;
}

std::optional<Matrix> product_value(const Node& node, Workspace& workspace) {
  std::optional<Matrix> product;
  std::vector<NodeId> factors;
  for (const NodeId child : node.children) {
    if (!workspace.nodes.contains(child, Kind::matrix, workspace.steps)) {
      factors.push_back(child);
      continue;
    }
    const auto factor = matrix_value(child, workspace);
    if (!factor || (product && product->columns != factor->rows)) return std::nullopt;
    product = product ? multiply_matrices(*product, *factor, workspace) : *factor;
  }
  for (const NodeId factor : factors)
    if (product) product = scale_matrix(std::move(*product), factor, workspace);
  return product;
}

NodeId determinant(const Matrix& matrix, Workspace& workspace) {
  if (matrix.rows == 1) return matrix.entries[0];
  std::vector<NodeId> terms;
  for (std::size_t left_out = 0; left_out < matrix.columns; ++left_out) {
    Matrix minor{matrix.rows - 1, matrix.columns - 1, {}};
    for (std::size_t i = 1; i < matrix.rows; ++i)
      for (std::size_t j = 0; j < matrix.columns; ++j)
        if (j != left_out) minor.entries.push_back(matrix.entries[i * matrix.columns + j]);
    const NodeId term = workspace.nodes.add(Kind::multiply, {matrix.entries[left_out], determinant(minor, workspace)});
    terms.push_back(left_out % 2 == 0 ? term : workspace.nodes.add(Kind::negate, {term}));
  }
  return workspace.nodes.add(Kind::add, std::move(terms));
}

}  // namespace

std::vector<NodeId> sign_variants(NodeId root, Workspace& workspace) {
  if (!workspace.nodes.contains(root, Kind::plus_minus, workspace.steps) &&
      !workspace.nodes.contains(root, Kind::minus_plus, workspace.steps))
    return {};
  return {with_sign(root, true, workspace), with_sign(root, false, workspace)};
}

std::optional<Matrix> matrix_value(NodeId root, Workspace& workspace) {
  workspace.steps.charge();
  const Node& node = workspace.nodes[root];
  switch (node.kind) {
    case Kind::matrix: {
      const auto columns = static_cast<std::size_t>(node.exponent10);
      return Matrix{node.children.size() / columns, columns, node.children};
    }
    case Kind::add:
      return sum_value(node, workspace);
    case Kind::multiply:
      return product_value(node, workspace);
    case Kind::negate: {
      auto matrix = matrix_value(node.children[0], workspace);
      if (matrix)
        for (NodeId& entry : matrix->entries) entry = workspace.nodes.add(Kind::negate, {entry});
      return matrix;
    }
    case Kind::power: {
      const Node& exponent = workspace.nodes[node.children[1]];
      constexpr std::string_view kPowers = "23456";
      const auto matrix = matrix_value(node.children[0], workspace);
      if (!matrix || matrix->rows != matrix->columns || exponent.kind != Kind::number || exponent.exponent10 != 0 ||
          exponent.text.size() != 1 || kPowers.find(exponent.text[0]) == std::string_view::npos)
        return std::nullopt;
      Matrix power = *matrix;
      for (char k = '1'; k < exponent.text[0]; ++k) power = multiply_matrices(power, *matrix, workspace);
      return power;
    }
    case Kind::function: {
      if (node.text != "transpose") return std::nullopt;
      const auto matrix = matrix_value(node.children[0], workspace);
      if (!matrix) return std::nullopt;
      Matrix turned{matrix->columns, matrix->rows, {}};
      for (std::size_t j = 0; j < matrix->columns; ++j)
        for (std::size_t i = 0; i < matrix->rows; ++i)
          turned.entries.push_back(matrix->entries[i * matrix->columns + j]);
      return turned;
    }
    default:
      return std::nullopt;
  }
}

NodeId without_determinants(NodeId root, Workspace& workspace) {
  const Node& node = workspace.nodes[root];
  if (node.kind == Kind::function && node.text == "det") {
    constexpr std::size_t kLargest = 5;
    const auto matrix = matrix_value(node.children[0], workspace);
    if (matrix && matrix->rows == matrix->columns && matrix->rows <= kLargest) return determinant(*matrix, workspace);
    return root;
  }
  return rewrite_children(root, workspace, [&](NodeId child) { return without_determinants(child, workspace); });
}

}  // namespace athanor::math
