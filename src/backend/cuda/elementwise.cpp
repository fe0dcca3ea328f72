// One element at a time: sums, scaling, biases, SwiGLU.
#include <initializer_list>

#include "src/backend/cuda/call.hpp"
#include "src/backend/cuda/column_sum_pieces.hpp"
#include "src/backend/cuda/cuda_backend.hpp"
#include "src/backend/cuda/elementwise_kernels.cuh"

namespace athanor::cuda {

void CudaBackend::add(Tensor out, const Tensor& a, const Tensor& b, Stream& stream) {
  require_floating("add", out);
  require_alike("add", out, a);
  require_alike("add", out, b);
  const Call call("add", stream, {out, a, b});
  call.check(launch_add(raw(out), raw(a), raw(b), out.dtype(), out.numel(), call.stream()));
}

void CudaBackend::scale(Tensor x, double factor, Stream& stream) {
  require_floating("scale", x);
  const Call call("scale", stream, {x});
  call.check(launch_scale(raw(x), factor, x.dtype(), x.numel(), call.stream()));
}

void CudaBackend::add_bias(Tensor x_TO, const Tensor& b_O, Stream& stream) {
  const std::int64_t rows = x_TO.shape().flat_rows(), columns = x_TO.shape().back();
  require_floating("add_bias", x_TO);
  require(b_O.numel() == columns && b_O.dtype() == x_TO.dtype(), "add_bias", "a bias of the rows' width and type", x_TO,
          b_O);
  const Call call("add_bias", stream, {x_TO, b_O});
  call.check(launch_add_bias(raw(x_TO), raw(b_O), x_TO.dtype(), rows, columns, call.stream()));
}

void CudaBackend::bias_backward(Tensor db_O, const Tensor& dy_TO, Stream& stream) {
  const std::int64_t rows = dy_TO.shape().flat_rows(), columns = dy_TO.shape().back();
  require_floating("bias_backward", dy_TO);
  require(db_O.numel() == columns && db_O.dtype() == accumulation_dtype(dy_TO.dtype()), "bias_backward",
          "a gradient of the rows' width and accumulation type", db_O, dy_TO);
  const Call call("bias_backward", stream, {db_O, dy_TO});
  auto* pieces = call.scratch<double>(arena(), column_sum_pieces(rows) * columns);
  call.check(launch_bias_backward(raw(db_O), pieces, raw(dy_TO), dy_TO.dtype(), rows, columns, call.stream()));
}

void CudaBackend::swiglu_forward(Tensor y_TF, const Tensor& gate_TF, const Tensor& up_TF, Stream& stream) {
  require_floating("swiglu_forward", y_TF);
  require_alike("swiglu_forward", y_TF, gate_TF);
  require_alike("swiglu_forward", y_TF, up_TF);
  const Call call("swiglu_forward", stream, {y_TF, gate_TF, up_TF});
  call.check(launch_swiglu_forward(raw(y_TF), raw(gate_TF), raw(up_TF), y_TF.dtype(), y_TF.numel(), call.stream()));
}

void CudaBackend::swiglu_backward(Tensor dgate_TF, Tensor dup_TF, const Tensor& dy_TF, const Tensor& gate_TF,
                                  const Tensor& up_TF, Stream& stream) {
  require_floating("swiglu_backward", dy_TF);
  for (const Tensor* other : std::initializer_list<const Tensor*>{&dgate_TF, &dup_TF, &gate_TF, &up_TF})
    require_alike("swiglu_backward", dy_TF, *other);
  const Call call("swiglu_backward", stream, {dgate_TF, dup_TF, dy_TF, gate_TF, up_TF});
  call.check(launch_swiglu_backward(raw(dgate_TF), raw(dup_TF), raw(dy_TF), raw(gate_TF), raw(up_TF), dy_TF.dtype(),
                                    dy_TF.numel(), call.stream()));
}

}  // namespace athanor::cuda
