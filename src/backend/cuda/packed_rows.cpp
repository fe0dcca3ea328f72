// FP8 rows as they travel: packed with their scales, unpacked as rows of experts, and the backward of the sum over
// experts from packed gradients. Bytes and exponents move; no unit for FP8 is needed.
#include "src/backend/cuda/call.hpp"
#include "src/backend/cuda/cuda_backend.hpp"
#include "src/backend/cuda/packed_rows_kernels.cuh"

namespace athanor::cuda {

void CudaBackend::pack_fp8_rows(Tensor out_TP, const Fp8Matrix& x_TD, Stream& stream) {
  const char* op = "pack_fp8_rows";
  require_packed_fp8(op, out_TP, x_TD);
  const Call call(op, stream, {out_TP, x_TD.values, x_TD.scales});
  call.check(launch_pack_fp8_rows(data<std::uint8_t>(out_TP), data<const std::uint8_t>(x_TD.values),
                                  data<const float>(x_TD.scales), x_TD.values.dim(0), x_TD.values.dim(1),
                                  call.stream()));
}

void CudaBackend::permute_fp8_rows(const Fp8Matrix& y_RD, const Tensor& x_TP, const Tensor& pair_of_R,
                                   std::int64_t top_k, Stream& stream) {
  const char* op = "permute_fp8_rows";
  require_permuted_fp8(op, y_RD, x_TP, pair_of_R, top_k);
  const Call call(op, stream, {y_RD.values, y_RD.scales, x_TP, pair_of_R});
  call.check(launch_permute_fp8_rows(data<std::uint8_t>(y_RD.values), data<float>(y_RD.scales),
                                     data<const std::uint8_t>(x_TP), data<const std::int32_t>(pair_of_R), top_k,
                                     y_RD.values.dim(0), y_RD.values.dim(1), call.ids(x_TP.dim(0) * top_k),
                                     call.stream()));
}

void CudaBackend::unpermute_fp8_rows_backward(const Fp8Matrix& dx_RD, Tensor dweights_TK, const Tensor& dy_TP,
                                              const Tensor& x_RD, const Tensor& row_of_TK, const Tensor& weights_TK,
                                              Stream& stream) {
  const char* op = "unpermute_fp8_rows_backward";
  const Unpermuted u = require_unpermuted_fp8(op, dx_RD, dweights_TK, dy_TP, x_RD, row_of_TK, weights_TK);
  const Call call(op, stream, {dx_RD.values, dx_RD.scales, dweights_TK, dy_TP, x_RD, row_of_TK, weights_TK});
  call.check(launch_unpermute_fp8_rows_backward(data<std::uint8_t>(dx_RD.values), data<float>(dx_RD.scales),
                                                data<float>(dweights_TK), data<const std::uint8_t>(dy_TP), raw(x_RD),
                                                x_RD.dtype(), data<const std::int32_t>(row_of_TK),
                                                data<const float>(weights_TK), u, call.ids(u.rows, -1), call.stream()));
}

}  // namespace athanor::cuda
