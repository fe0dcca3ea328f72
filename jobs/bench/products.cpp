// Rows of OperationBench: matrix products of training.
#include <vector>

#include "jobs/bench/operation_bench.hpp"

namespace athanor {

void OperationBench::products() {
  const Tensor x_TD = numbers({s_.T, s_.D}), w_FD = numbers({s_.F, s_.D}), y_TF = ops_.empty({s_.T, s_.F}, dtype_);
  const Tensor dw_FD = numbers({s_.F, s_.D}, acc_);
  const std::int64_t flops = 2 * s_.T * s_.D * s_.F;
  computes("gemm forward", flops, [&] { ops_.gemm(y_TF, x_TD, Transpose::no, w_FD, Transpose::yes, false, stream_); });
  computes("gemm input gradient", flops,
           [&] { ops_.gemm(x_TD, y_TF, Transpose::no, w_FD, Transpose::no, false, stream_); });
  computes("gemm weight gradient", flops,
           [&] { ops_.gemm(dw_FD, y_TF, Transpose::yes, x_TD, Transpose::no, true, stream_); });
}

/// Shares are of the peak of bf16: what FP8 is to beat.
void OperationBench::fp8_products() {
  const Tensor x_TD = numbers({s_.T, s_.D}), w_FD = numbers({s_.F, s_.D}), y_TF = ops_.empty({s_.T, s_.F}, dtype_);
  const Tensor dw_FD = numbers({s_.F, s_.D}, DType::f32);
  const Fp8Matrix x = ops_.empty_fp8_rows(s_.T, s_.D), w = ops_.empty_fp8_blocks({s_.F, s_.D});
  const Fp8Matrix y = ops_.empty_fp8_rows(s_.T, s_.F), turned_w = ops_.empty_fp8_blocks({s_.D, s_.F});
  const Fp8Matrix turned_x = ops_.empty_fp8_columns(s_.T, s_.D, 1), turned_y = ops_.empty_fp8_columns(s_.T, s_.F, 1);
  ops_.fill_normal(y_TF, 1.0, 1, whole("bench.gpu", dtype_, y_TF.shape()), stream_);
  const auto made = [](const Fp8Matrix& matrix) { return matrix.values.bytes() + matrix.scales.bytes(); };
  moves("fp8 of rows", x_TD.bytes() + made(x), [&] { ops_.quantize_fp8_rows(x, x_TD, Fp8Scaling::exact, stream_); });
  moves("fp8 of columns", x_TD.bytes() + made(turned_x),
        [&] { ops_.quantize_fp8_columns(turned_x, x_TD, Tensor{}, stream_); });
  moves("fp8 of weights", w_FD.bytes() + made(w), [&] { ops_.quantize_fp8_blocks(w, w_FD, Transpose::no, stream_); });
  moves("fp8 of weights, turned", w_FD.bytes() + made(turned_w),
        [&] { ops_.quantize_fp8_blocks(turned_w, w_FD, Transpose::yes, stream_); });
  moves("fp8 of rows, turned", made(x) + made(turned_x),
        [&] { ops_.retile_fp8_columns(turned_x, x, Tensor{}, stream_); });
  moves("numbers of fp8", made(x) + x_TD.bytes(), [&] { ops_.dequantize_fp8_rows(x_TD, x, stream_); });
  ops_.quantize_fp8_rows(y, y_TF, Fp8Scaling::exact, stream_);
  ops_.quantize_fp8_columns(turned_y, y_TF, Tensor{}, stream_);
  const std::int64_t flops = 2 * s_.T * s_.D * s_.F;
  computes("fp8 forward", flops, [&] { ops_.gemm_fp8(y_TF, x, w, false, stream_); });
  computes("fp8 input gradient", flops, [&] { ops_.gemm_fp8(x_TD, y, turned_w, false, stream_); });
  computes("fp8 weight gradient", flops, [&] { ops_.gemm_fp8(dw_FD, turned_y, turned_x, true, stream_); });
}

/// The same arithmetic as "gemm", cut into 8 groups of rows of unlike sizes.
void OperationBench::expert_products() {
  constexpr std::int64_t kGroups = 8;
  const std::int64_t inner = s_.F / kGroups;
  std::vector<std::int32_t> offsets;
  for (std::int64_t e = 0; e <= kGroups; ++e)
    offsets.push_back(static_cast<std::int32_t>(s_.T * e * (e + kGroups) / (2 * kGroups * kGroups)));
  const Tensor offsets_E1 = ids(offsets);
  const Tensor x_RD = numbers({s_.T, s_.D}), w_EFD = numbers({kGroups, inner, s_.D});
  const Tensor y_RF = numbers({s_.T, inner}), dw_EFD = numbers({kGroups, inner, s_.D}, acc_);
  const std::int64_t flops = 2 * s_.T * s_.D * inner;
  computes("experts forward", flops, [&] { ops_.grouped_gemm(y_RF, x_RD, w_EFD, offsets_E1, stream_); });
  computes("experts input gradient", flops,
           [&] { ops_.grouped_gemm_backward_input(x_RD, y_RF, w_EFD, offsets_E1, false, stream_); });
  computes("experts weight gradient", flops,
           [&] { ops_.grouped_gemm_backward_weight(dw_EFD, y_RF, x_RD, offsets_E1, stream_); });
  if (dtype_ != DType::bf16) return;
  const Fp8Matrix x = ops_.empty_fp8_rows(s_.T, s_.D), w = ops_.empty_fp8_blocks({kGroups, inner, s_.D});
  const Fp8Matrix y = ops_.empty_fp8_rows(s_.T, inner), turned_w = ops_.empty_fp8_blocks({kGroups, s_.D, inner});
  const Fp8Matrix turned_x = ops_.empty_fp8_columns(s_.T, s_.D, kGroups),
                  turned_y = ops_.empty_fp8_columns(s_.T, inner, kGroups);
  const Tensor fresh_RD = numbers({s_.T, s_.D}), fresh_RF = numbers({s_.T, inner});
  ops_.quantize_fp8_rows(x, fresh_RD, Fp8Scaling::exact, stream_);
  ops_.quantize_fp8_blocks(w, w_EFD, Transpose::no, stream_);
  ops_.quantize_fp8_rows(y, fresh_RF, Fp8Scaling::exact, stream_);
  ops_.quantize_fp8_blocks(turned_w, w_EFD, Transpose::yes, stream_);
  ops_.quantize_fp8_columns(turned_x, fresh_RD, offsets_E1, stream_);
  ops_.quantize_fp8_columns(turned_y, fresh_RF, offsets_E1, stream_);
  computes("experts fp8 forward", flops, [&] { ops_.grouped_gemm_fp8(y_RF, x, w, offsets_E1, false, stream_); });
  computes("experts fp8 input gradient", flops,
           [&] { ops_.grouped_gemm_fp8(x_RD, y, turned_w, offsets_E1, false, stream_); });
  computes("experts fp8 weight gradient", flops,
           [&] { ops_.grouped_gemm_fp8_weight(dw_EFD, turned_y, turned_x, offsets_E1, stream_); });
}

}  // namespace athanor
