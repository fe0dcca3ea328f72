#include "src/backend/cuda/grouped_gemm.hpp"

#include "src/backend/cuda/grouped_product.hpp"
#include "src/backend/cuda/operands.hpp"

namespace athanor::cuda {
namespace {

void require_grouped(const char* op, const Tensor& rows_RX, const Tensor& w_EOI, const Tensor& offsets_E1, int width) {
  require(w_EOI.shape().ndim() == 3, op, "weights [E, O, I]", w_EOI, rows_RX);
  require(rows_RX.shape().back() == w_EOI.dim(width), op, "rows as wide as the weights", rows_RX, w_EOI);
  require(offsets_E1.dtype() == DType::i32 && offsets_E1.numel() == w_EOI.dim(0) + 1, op, "i32 offsets [E+1]",
          offsets_E1, w_EOI);
}

/// The product of x (in) with something of its type into y (out).
void require_types(const char* op, const Tensor& x, const Tensor& other, const Tensor& y) {
  require(other.dtype() == x.dtype() && is_floating(x.dtype()), op, "factors of one type f32, bf16 or f64", x, other);
  require(y.dtype() == x.dtype() || (x.dtype() == DType::bf16 && y.dtype() == DType::f32), op,
          "an output of the factors' type, or f32 of bf16", y, x);
}

/// The operands that all three forms share: rows by offsets.
GroupedProduct product_of(const Tensor& c, const Tensor& a, const Tensor& b, const Tensor& offsets_E1) {
  GroupedProduct p;
  p.a = a.unsafe_data();
  p.b = b.unsafe_data();
  p.c = c.unsafe_data();
  p.offsets_E1 = reinterpret_cast<const std::int32_t*>(offsets_E1.unsafe_data());
  p.num_groups = static_cast<int>(offsets_E1.numel() - 1);
  p.a_stride = a.shape().back();
  p.b_stride = b.shape().back();
  p.c_stride = c.shape().back();
  p.whole_vectors = whole_vectors({&a, &b}, {p.a_stride, p.b_stride});
  return p;
}

}  // namespace

void grouped_gemm(Tensor y_RO, const Tensor& x_RI, const Tensor& w_EOI, const Tensor& offsets_E1, Stream& stream) {
  constexpr const char* kOp = "grouped_gemm";
  require_grouped(kOp, x_RI, w_EOI, offsets_E1, 2);
  require_grouped(kOp, y_RO, w_EOI, offsets_E1, 1);
  require(y_RO.shape().flat_rows() == x_RI.shape().flat_rows(), kOp, "as many rows of y as of x", y_RO, x_RI);
  require_types(kOp, x_RI, w_EOI, y_RO);
  require_countable(kOp, {y_RO, x_RI, w_EOI, offsets_E1});
  const Call call(kOp, stream, {y_RO, x_RI, w_EOI, offsets_E1});
  GroupedProduct p = product_of(y_RO, x_RI, w_EOI, offsets_E1);
  p.by = GroupBy::rows;
  p.rows = static_cast<int>(x_RI.shape().flat_rows());
  p.columns = static_cast<int>(w_EOI.dim(1));
  p.depth = static_cast<int>(w_EOI.dim(2));
  p.b_of_group = w_EOI.dim(1) * w_EOI.dim(2);
  run_grouped_product(p, x_RI.dtype(), y_RO.dtype(), call);
}

void grouped_gemm_backward_input(Tensor dx_RI, const Tensor& dy_RO, const Tensor& w_EOI, const Tensor& offsets_E1,
                                 bool accumulate, Stream& stream) {
  constexpr const char* kOp = "grouped_gemm_backward_input";
  require_grouped(kOp, dx_RI, w_EOI, offsets_E1, 2);
  require_grouped(kOp, dy_RO, w_EOI, offsets_E1, 1);
  require(dx_RI.shape().flat_rows() == dy_RO.shape().flat_rows(), kOp, "as many rows of dx as of dy", dx_RI, dy_RO);
  require_types(kOp, dy_RO, w_EOI, dx_RI);
  require_countable(kOp, {dx_RI, dy_RO, w_EOI, offsets_E1});
  const Call call(kOp, stream, {dx_RI, dy_RO, w_EOI, offsets_E1});
  GroupedProduct p = product_of(dx_RI, dy_RO, w_EOI, offsets_E1);
  p.by = GroupBy::rows;
  p.b_by_depth = true;
  p.accumulate = accumulate;
  p.rows = static_cast<int>(dy_RO.shape().flat_rows());
  p.columns = static_cast<int>(w_EOI.dim(2));
  p.depth = static_cast<int>(w_EOI.dim(1));
  p.b_of_group = w_EOI.dim(1) * w_EOI.dim(2);
  run_grouped_product(p, dy_RO.dtype(), dx_RI.dtype(), call);
}

void grouped_gemm_backward_weight(Tensor dw_EOI, const Tensor& dy_RO, const Tensor& x_RI, const Tensor& offsets_E1,
                                  Stream& stream) {
  constexpr const char* kOp = "grouped_gemm_backward_weight";
  require_grouped(kOp, x_RI, dw_EOI, offsets_E1, 2);
  require_grouped(kOp, dy_RO, dw_EOI, offsets_E1, 1);
  require(x_RI.shape().flat_rows() == dy_RO.shape().flat_rows(), kOp, "as many rows of x as of dy", x_RI, dy_RO);
  require_types(kOp, dy_RO, x_RI, dw_EOI);
  require(dw_EOI.dtype() == accumulation_dtype(x_RI.dtype()), kOp, "a gradient of the accumulation type", dw_EOI, x_RI);
  require_countable(kOp, {dw_EOI, dy_RO, x_RI, offsets_E1});
  const Call call(kOp, stream, {dw_EOI, dy_RO, x_RI, offsets_E1});
  GroupedProduct p = product_of(dw_EOI, dy_RO, x_RI, offsets_E1);
  p.by = GroupBy::depth;
  p.a_by_depth = true;
  p.b_by_depth = true;
  p.accumulate = true;
  p.rows = static_cast<int>(dw_EOI.dim(1));
  p.columns = static_cast<int>(dw_EOI.dim(2));
  p.depth = static_cast<int>(x_RI.shape().flat_rows());
  p.c_of_group = dw_EOI.dim(1) * dw_EOI.dim(2);
  run_grouped_product(p, x_RI.dtype(), dw_EOI.dtype(), call);
}

}  // namespace athanor::cuda
