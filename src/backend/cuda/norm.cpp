// RMSNorm (Zhang & Sennrich 2019): y = x * rstd * w, rstd = 1/sqrt(mean(x^2) + eps).
#include "src/backend/cuda/call.hpp"
#include "src/backend/cuda/column_sum_pieces.hpp"
#include "src/backend/cuda/cuda_backend.hpp"
#include "src/backend/cuda/norm_kernels.cuh"

namespace athanor::cuda {
namespace {

/// Checks what the three operations share.
void require_norm(const char* op, const Tensor& x_TD, const Tensor& other_TD, const Tensor& rstd_T) {
  require_floating(op, x_TD);
  require(other_TD.numel() == x_TD.numel() && other_TD.dtype() == x_TD.dtype(), op, "rows of one size and type", x_TD,
          other_TD);
  require(rstd_T.numel() == x_TD.shape().flat_rows() && rstd_T.dtype() == accumulation_dtype(x_TD.dtype()), op,
          "one rstd a row, of the accumulation type", rstd_T, x_TD);
}
void require_weight(const char* op, const Tensor& w_D, const Tensor& x_TD) {
  require(w_D.numel() == x_TD.shape().back() && w_D.dtype() == x_TD.dtype(), op, "a weight of the rows' width and type",
          w_D, x_TD);
}

}  // namespace

void CudaBackend::rms_norm_forward(Tensor y_TD, Tensor rstd_T, const Tensor& x_TD, const Tensor& w_D, double eps,
                                   Stream& stream) {
  require_norm("rms_norm_forward", x_TD, y_TD, rstd_T);
  require_weight("rms_norm_forward", w_D, x_TD);
  const Call call("rms_norm_forward", stream, {y_TD, rstd_T, x_TD, w_D});
  call.check(launch_rms_norm_forward(raw(y_TD), raw(rstd_T), raw(x_TD), raw(w_D), eps, x_TD.dtype(),
                                     x_TD.shape().flat_rows(), x_TD.shape().back(), call.stream()));
}

void CudaBackend::rms_norm_backward_input(Tensor dx_TD, const Tensor& dy_TD, const Tensor& x_TD, const Tensor& w_D,
                                          const Tensor& rstd_T, const Tensor& dresidual_TD, Stream& stream) {
  const char* op = "rms_norm_backward_input";
  require_norm(op, x_TD, dy_TD, rstd_T);
  require_norm(op, x_TD, dx_TD, rstd_T);
  if (dresidual_TD.defined()) require_norm(op, x_TD, dresidual_TD, rstd_T);
  require_weight(op, w_D, x_TD);
  const Call call(op, stream, {dx_TD, dy_TD, x_TD, w_D, rstd_T, dresidual_TD});
  call.check(launch_rms_norm_backward_input(raw(dx_TD), raw(dy_TD), raw(x_TD), raw(w_D), raw(rstd_T), raw(dresidual_TD),
                                            x_TD.dtype(), x_TD.shape().flat_rows(), x_TD.shape().back(),
                                            call.stream()));
}

void CudaBackend::rms_norm_backward_weight(Tensor dw_D, const Tensor& dy_TD, const Tensor& x_TD, const Tensor& rstd_T,
                                           Stream& stream) {
  const char* op = "rms_norm_backward_weight";
  require_norm(op, x_TD, dy_TD, rstd_T);
  const std::int64_t rows = x_TD.shape().flat_rows(), width = x_TD.shape().back();
  require(dw_D.numel() == width && dw_D.dtype() == accumulation_dtype(x_TD.dtype()), op,
          "a gradient of the rows' width and accumulation type", dw_D, x_TD);
  const Call call(op, stream, {dw_D, dy_TD, x_TD, rstd_T});
  auto* pieces = call.scratch<double>(arena(), column_sum_pieces(rows) * width);
  call.check(launch_rms_norm_backward_weight(raw(dw_D), pieces, raw(dy_TD), raw(x_TD), raw(rstd_T), x_TD.dtype(), rows,
                                             width, call.stream()));
}

}  // namespace athanor::cuda
