// Products of experts on one GPU, in the shape of Backend's operations (backend.hpp says what each means). Laws: the
// host never learns where an expert's rows begin; rows past offsets[E] are left alone; bf16 is summed in f32, f32 in
// f32 (no TF32), f64 in f64, in one order, so that a row does not depend on its company. `stream` must be a CudaStream
// of the tensors' device.
#pragma once

#include "src/backend/backend.hpp"

namespace athanor::cuda {

void grouped_gemm(Tensor y_RO, const Tensor& x_RI, const Tensor& w_EOI, const Tensor& offsets_E1, Stream& stream);
void grouped_gemm_backward_input(Tensor dx_RI, const Tensor& dy_RO, const Tensor& w_EOI, const Tensor& offsets_E1,
                                 bool accumulate, Stream& stream);
void grouped_gemm_backward_weight(Tensor dw_EOI, const Tensor& dy_RO, const Tensor& x_RI, const Tensor& offsets_E1,
                                  Stream& stream);

}  // namespace athanor::cuda
