// Matrix products in FP8: checks, and which kernel runs them.
#include "src/backend/cuda/fp8.hpp"

#include <string>

#include "src/backend/cuda/call.hpp"
#include "src/backend/cuda/cuda_backend.hpp"
#include "src/backend/cuda/fp8_kernels.cuh"
#include "src/backend/cuda/grouped_product.hpp"
#include "src/backend/cuda/operands.hpp"

namespace athanor::cuda {
namespace {

void require_fp8_units(const char* op, int device) {
  if (const int capability = capability_of(device); capability < 89)
    throw Error(std::string(op) + ": wanted a GPU with FP8 (compute capability 8.9 or later), found " +
                std::to_string(capability / 10) + "." + std::to_string(capability % 10) + "; set model.fp8 = false");
}

Fp8Scales with_memory(Fp8Scales scales, const Fp8Matrix& matrix) {
  scales.data = data<const float>(matrix.scales);
  return scales;
}

/// a * b^T with the sizes of one group; what cuts the groups is the caller's.
Fp8GroupedProduct product_of(const char* op, const Tensor& y, const Fp8Matrix& a, const Fp8Matrix& b) {
  Fp8GroupedProduct p;
  p.product.a = raw(a.values);
  p.product.b = raw(b.values);
  p.product.c = raw(y);
  p.product.num_groups = 1;
  p.product.rows = static_cast<int>(a.values.dim(0));
  p.product.columns = static_cast<int>(b.values.shape()[b.values.shape().ndim() - 2]);
  p.product.depth = static_cast<int>(a.values.dim(1));
  p.product.a_stride = p.product.b_stride = a.values.dim(1);
  p.product.c_stride = p.product.columns;
  p.a_scales = with_memory(require_fp8(op, a), a);
  p.b_scales = with_memory(require_fp8(op, b), b);
  return p;
}

void run(Fp8GroupedProduct p, DType out, const Call& call) {
  const int processors = processors_of(call.device());
  p.product.whole_c = has_whole_c(p.product, out);
  if (has_hopper_kernels(call.device()) && p.product.depth > 0)
    call.check(launch_tiled_fp8_product({tiled_product(p.product, 1, kTiledRows), p.a_scales, p.b_scales}, out,
                                        processors, call.stream()));
  else
    call.check(launch_fp8_product(p, out, processors, call.stream()));
}

}  // namespace

void gemm_fp8(Tensor y_MN, const Fp8Matrix& a_MK, const Fp8Matrix& b_NK, bool accumulate, bool rows_alike,
              MatrixProducts& products, Stream& stream) {
  const char* op = "gemm_fp8";
  require_fp8_product(op, y_MN, a_MK, b_NK, Tensor{});
  require_countable(op, {y_MN, a_MK.values, b_NK.values});
  const Call call(op, stream, {y_MN, a_MK.values, a_MK.scales, b_NK.values, b_NK.scales});
  require_fp8_units(op, call.device());
  if (y_MN.numel() == 0 || (!rows_alike && products.gemm_fp8(y_MN, a_MK, b_NK, accumulate, call))) return;
  Fp8GroupedProduct p = product_of(op, y_MN, a_MK, b_NK);
  p.product.accumulate = accumulate;
  run(p, y_MN.dtype(), call);
}

void CudaBackend::grouped_gemm_fp8(Tensor y_RN, const Fp8Matrix& a_RK, const Fp8Matrix& b_ENK, const Tensor& offsets_E1,
                                   bool accumulate, Stream& stream) {
  const char* op = "grouped_gemm_fp8";
  require_fp8_product(op, y_RN, a_RK, b_ENK, offsets_E1);
  require(b_ENK.tiles == Fp8Tiles::blocks, op, "weights by blocks", b_ENK.values);
  require_countable(op, {y_RN, a_RK.values, b_ENK.values});
  const Call call(op, stream, {y_RN, a_RK.values, a_RK.scales, b_ENK.values, b_ENK.scales, offsets_E1});
  require_fp8_units(op, call.device());
  if (y_RN.numel() == 0) return;
  Fp8GroupedProduct p = product_of(op, y_RN, a_RK, b_ENK);
  p.product.by = GroupBy::rows;
  p.product.offsets_E1 = data<const std::int32_t>(offsets_E1);
  p.product.num_groups = static_cast<int>(b_ENK.values.dim(0));
  p.product.b_of_group = b_ENK.values.dim(1) * b_ENK.values.dim(2);
  p.product.accumulate = accumulate;
  run(p, y_RN.dtype(), call);
}

void CudaBackend::grouped_gemm_fp8_weight(Tensor dw_EMN, const Fp8Matrix& a_MS, const Fp8Matrix& b_NS,
                                          const Tensor& offsets_E1, Stream& stream) {
  const char* op = "grouped_gemm_fp8_weight";
  require_fp8_weight_product(op, dw_EMN, a_MS, b_NS, offsets_E1);
  require_countable(op, {dw_EMN, a_MS.values, b_NS.values});
  const Call call(op, stream, {dw_EMN, a_MS.values, a_MS.scales, b_NS.values, b_NS.scales, offsets_E1});
  require_fp8_units(op, call.device());
  if (dw_EMN.numel() == 0) return;
  Fp8GroupedProduct p = product_of(op, dw_EMN, a_MS, b_NS);
  p.product.by = GroupBy::places;
  p.product.offsets_E1 = data<const std::int32_t>(offsets_E1);
  p.product.num_groups = static_cast<int>(dw_EMN.dim(0));
  p.product.c_of_group = dw_EMN.dim(1) * dw_EMN.dim(2);
  p.product.accumulate = true;
  run(p, dw_EMN.dtype(), call);
}

void CudaBackend::quantize_fp8_rows(const Fp8Matrix& out, const Tensor& x_TI, Fp8Scaling scaling, Stream& stream) {
  const char* op = "quantize_fp8_rows";
  require_fp8_of_rows(op, out, x_TI);
  const Call call(op, stream, {out.values, out.scales, x_TI});
  require_fp8_units(op, call.device());
  call.check(launch_quantize_fp8_rows(data<std::uint8_t>(out.values), data<float>(out.scales), raw(x_TI), x_TI.dtype(),
                                      x_TI.shape().flat_rows(), x_TI.shape().back(),
                                      scaling == Fp8Scaling::power_of_two, call.stream()));
}

void CudaBackend::dequantize_fp8_rows(Tensor x_TI, const Fp8Matrix& rows_TI, Stream& stream) {
  const char* op = "dequantize_fp8_rows";
  require_fp8_of_rows(op, rows_TI, x_TI);
  const Call call(op, stream, {x_TI, rows_TI.values, rows_TI.scales});
  call.check(launch_dequantize_fp8_rows(raw(x_TI), x_TI.dtype(), data<const std::uint8_t>(rows_TI.values),
                                        data<const float>(rows_TI.scales), rows_TI.values.dim(0), rows_TI.values.dim(1),
                                        call.stream()));
}

void CudaBackend::retile_fp8_columns(const Fp8Matrix& out, const Fp8Matrix& rows_TI, const Tensor& offsets_E1,
                                     Stream& stream) {
  const char* op = "retile_fp8_columns";
  require_fp8_retiling(op, out, rows_TI, offsets_E1);
  const Call call(op, stream, {out.values, out.scales, rows_TI.values, rows_TI.scales, offsets_E1});
  require_fp8_units(op, call.device());
  const std::int64_t groups = offsets_E1.defined() ? offsets_E1.numel() - 1 : 1;
  call.check(launch_retile_fp8_columns(data<std::uint8_t>(out.values), data<float>(out.scales),
                                       data<const std::uint8_t>(rows_TI.values), data<const float>(rows_TI.scales),
                                       data<const std::int32_t>(offsets_E1), groups, rows_TI.values.dim(0),
                                       rows_TI.values.dim(1), out.values.dim(1), call.stream()));
}

void CudaBackend::quantize_fp8_columns(const Fp8Matrix& out, const Tensor& x_TI, const Tensor& offsets_E1,
                                       Stream& stream) {
  const char* op = "quantize_fp8_columns";
  require_fp8_of_columns(op, out, x_TI, offsets_E1);
  const Call call(op, stream, {out.values, out.scales, x_TI, offsets_E1});
  require_fp8_units(op, call.device());
  const std::int64_t groups = offsets_E1.defined() ? offsets_E1.numel() - 1 : 1;
  call.check(launch_quantize_fp8_columns(data<std::uint8_t>(out.values), data<float>(out.scales), raw(x_TI),
                                         x_TI.dtype(), data<const std::int32_t>(offsets_E1), groups,
                                         x_TI.shape().flat_rows(), x_TI.shape().back(), out.values.dim(1),
                                         call.stream()));
}

void CudaBackend::quantize_fp8_blocks(const Fp8Matrix& out, const Tensor& w, Transpose transpose, Stream& stream) {
  const char* op = "quantize_fp8_blocks";
  const Fp8Scales scales = require_fp8_of_blocks(op, out, w, transpose);
  const Call call(op, stream, {out.values, out.scales, w});
  require_fp8_units(op, call.device());
  const std::int64_t rows = w.shape().ndim() == 3 ? w.dim(1) : w.dim(0), stack = w.shape().ndim() == 3 ? w.dim(0) : 1;
  call.check(launch_quantize_fp8_blocks(data<std::uint8_t>(out.values), data<float>(out.scales), scales, raw(w),
                                        w.dtype(), stack, rows, w.shape().back(), transpose == Transpose::yes,
                                        call.stream()));
}

}  // namespace athanor::cuda
