// Checks of matrix products in FP8.
#include "src/backend/operand_checks.hpp"

namespace athanor {
namespace {

void require_numbers(std::string_view op, const Tensor& x) {
  require(x.dtype() == DType::f32 || x.dtype() == DType::bf16, op, "numbers of f32 or bf16 beside FP8", x);
}
void require_offsets(std::string_view op, const Tensor& offsets_E1, std::int64_t groups, const Tensor& other) {
  require(
      is_ids(offsets_E1, groups + 1), op, [&] { return "i32 offsets of " + std::to_string(groups) + " groups"; },
      offsets_E1, other);
}
/// Room in `out` for the columns of `source`, in groups.
void require_columns(std::string_view op, const Fp8Matrix& out, const Tensor& source, const Tensor& offsets_E1) {
  const std::int64_t groups = offsets_E1.defined() ? offsets_E1.numel() - 1 : 1;
  if (offsets_E1.defined()) require_offsets(op, offsets_E1, groups, source);
  const std::int64_t least = (source.shape().flat_rows() + groups * (kFp8Tile - 1)) / kFp8Tile * kFp8Tile;
  require(
      out.tiles == Fp8Tiles::rows && out.values.shape() == Shape{source.shape().back(), least}, op,
      [&] { return "a row a column of the source, with " + std::to_string(least) + " places"; }, out.values, source);
}
void require_packed_rows(std::string_view op, const Tensor& packed_TP, std::int64_t rows, std::int64_t width) {
  require(
      packed_TP.dtype() == DType::u8 && packed_TP.shape() == Shape{rows, fp8_row_bytes(width)}, op,
      [&] { return "packed rows, u8 [" + std::to_string(rows) + ", " + std::to_string(fp8_row_bytes(width)) + "]"; },
      packed_TP);
}

}  // namespace

Fp8Scales require_fp8(std::string_view op, const Fp8Matrix& matrix) {
  const Shape& shape = matrix.values.shape();
  const bool stack = shape.ndim() == 3;
  require(matrix.values.dtype() == DType::u8 && (shape.ndim() == 2 || stack) && shape.back() % 16 == 0, op,
          "bytes of E4M3 [N, K] or [E, N, K], K a multiple of 16", matrix.values);
  const std::int64_t rows = shape[shape.ndim() - 2], tiles = fp8_tiles(shape.back());
  require(matrix.scales.dtype() == DType::f32, op, "scales of f32", matrix.scales, matrix.values);
  if (matrix.tiles == Fp8Tiles::rows) {
    require(!stack && matrix.scales.shape() == Shape{tiles, rows}, op, "scales [K/128, N]", matrix.scales,
            matrix.values);
    return {.by_tile = rows, .by_row = 1};
  }
  const Shape plane{fp8_tiles(rows), fp8_block_stride(shape.back())};
  require(matrix.scales.shape() == (stack ? Shape{shape[0], plane[0], plane[1]} : plane), op,
          "scales [(E,) N/128, K/128 up to a multiple of 4]", matrix.scales, matrix.values);
  return {.by_tile = 1, .by_row = plane[1], .by_group = plane.numel(), .shift = 7};
}

Fp8Scales require_fp8_of_rows(std::string_view op, const Fp8Matrix& matrix, const Tensor& x_TI) {
  require_numbers(op, x_TI);
  require(
      matrix.tiles == Fp8Tiles::rows && matrix.values.shape() == Shape{x_TI.shape().flat_rows(), x_TI.shape().back()},
      op, "as many rows and columns as the numbers", matrix.values, x_TI);
  return require_fp8(op, matrix);
}

Fp8Scales require_fp8_of_columns(std::string_view op, const Fp8Matrix& out, const Tensor& x_TI,
                                 const Tensor& offsets_E1) {
  require_numbers(op, x_TI);
  require_columns(op, out, x_TI, offsets_E1);
  return require_fp8(op, out);
}

Fp8Retiling require_fp8_retiling(std::string_view op, const Fp8Matrix& out, const Fp8Matrix& rows_TI,
                                 const Tensor& offsets_E1) {
  const Fp8Scales from = require_fp8(op, rows_TI);
  require(rows_TI.tiles == Fp8Tiles::rows, op, "a matrix by rows", rows_TI.values);
  require_columns(op, out, rows_TI.values, offsets_E1);
  return {.out = require_fp8(op, out), .from = from};
}

void require_packed_fp8(std::string_view op, const Tensor& packed_TP, const Fp8Matrix& matrix) {
  require_fp8(op, matrix);
  require(matrix.tiles == Fp8Tiles::rows, op, "a matrix by rows", matrix.values);
  require_packed_rows(op, packed_TP, matrix.values.dim(0), matrix.values.dim(1));
}

void require_permuted_fp8(std::string_view op, const Fp8Matrix& y_RD, const Tensor& packed_TP, const Tensor& pair_of_R,
                          std::int64_t top_k) {
  require_fp8(op, y_RD);
  require(y_RD.tiles == Fp8Tiles::rows && is_ids(pair_of_R, y_RD.values.dim(0)), op, "one i32 pair a row", y_RD.values,
          pair_of_R);
  require(top_k > 0, op, "a positive top_k", y_RD.values);
  require_packed_rows(op, packed_TP, packed_TP.shape()[0], y_RD.values.dim(1));
}

Unpermuted require_unpermuted_fp8(std::string_view op, const Fp8Matrix& dx_RD, const Tensor& dweights_TK,
                                  const Tensor& dy_TP, const Tensor& x_RD, const Tensor& row_of_TK,
                                  const Tensor& weights_TK) {
  require(row_of_TK.dtype() == DType::i32 && row_of_TK.shape().ndim() == 2, op, "i32 rows [T, K]", row_of_TK);
  require_fp8_of_rows(op, dx_RD, x_RD);
  const Unpermuted u{row_of_TK.dim(0), row_of_TK.dim(1), x_RD.shape().flat_rows(), x_RD.shape().back()};
  require_packed_rows(op, dy_TP, u.tokens, u.width);
  for (const Tensor* weights : {&weights_TK, &dweights_TK})
    require(weights->numel() == row_of_TK.numel() && weights->dtype() == DType::f32, op, "f32 weights like the choices",
            *weights, row_of_TK);
  return u;
}

Fp8Scales require_fp8_of_blocks(std::string_view op, const Fp8Matrix& out, const Tensor& w, Transpose transpose) {
  require_numbers(op, w);
  Shape wanted = w.shape();
  require(wanted.ndim() == 2 || wanted.ndim() == 3, op, "a matrix or a stack of them", w);
  if (transpose == Transpose::yes) std::swap(wanted[wanted.ndim() - 1], wanted[wanted.ndim() - 2]);
  require(out.tiles == Fp8Tiles::blocks && out.values.shape() == wanted, op, "the shape of the weights", out.values, w);
  return require_fp8(op, out);
}

void require_fp8_product(std::string_view op, const Tensor& y, const Fp8Matrix& a, const Fp8Matrix& b,
                         const Tensor& offsets_E1) {
  require_fp8(op, a);
  require_fp8(op, b);
  const Shape &left = a.values.shape(), &right = b.values.shape();
  require(a.tiles == Fp8Tiles::rows && left.ndim() == 2, op, "a left operand by rows", a.values, b.values);
  require(left.back() == right.back(), op, "one depth", a.values, b.values);
  require(right.ndim() == (offsets_E1.defined() ? 3 : 2), op, "one right operand, or one a group", b.values, a.values);
  if (offsets_E1.defined()) require_offsets(op, offsets_E1, right[0], b.values);
  require(y.shape().flat_rows() == left[0] && y.shape().back() == right[right.ndim() - 2], op,
          "an output of the rows of both", y, b.values);
  require(y.dtype() == DType::f32 || y.dtype() == DType::bf16, op, "an output of f32 or bf16", y);
}

void require_fp8_weight_product(std::string_view op, const Tensor& dw_EMN, const Fp8Matrix& a, const Fp8Matrix& b,
                                const Tensor& offsets_E1) {
  require_fp8(op, a);
  require_fp8(op, b);
  const Shape &left = a.values.shape(), &right = b.values.shape();
  require(a.tiles == Fp8Tiles::rows && b.tiles == Fp8Tiles::rows && left[1] == right[1], op,
          "operands by rows with the same places", a.values, b.values);
  require(dw_EMN.shape().ndim() == 3 && dw_EMN.dim(1) == left[0] && dw_EMN.dim(2) == right[0], op,
          "a gradient [E, M, N] of the rows of both", dw_EMN, a.values);
  require(dw_EMN.dtype() == DType::f32, op, "a gradient of f32", dw_EMN);
  require_offsets(op, offsets_E1, dw_EMN.dim(0), dw_EMN);
}

}  // namespace athanor
