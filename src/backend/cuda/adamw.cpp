// The optimizer's passes over flat tensors: AdamW in one fused pass, and what decides a step (norm, non-finite counts).
#include <cmath>

#include "src/backend/cuda/adamw_kernels.cuh"
#include "src/backend/cuda/call.hpp"
#include "src/backend/cuda/cuda_backend.hpp"

namespace athanor::cuda {

void CudaBackend::sum_squares(Tensor out_1, const Tensor& x, Stream& stream) {
  require_floating("sum_squares", x);
  require(out_1.numel() == 1 && out_1.dtype() == DType::f64, "sum_squares", "one f64", out_1);
  const Call call("sum_squares", stream, {out_1, x});
  call.check(launch_sum_of_products(data<double>(out_1), call.scratch<double>(arena(), kSumPieces), raw(x), raw(x),
                                    x.dtype(), x.numel(), call.stream()));
}

void CudaBackend::count_nonfinite(Tensor out_1, const Tensor& x, Stream& stream) {
  require_floating("count_nonfinite", x);
  require(out_1.numel() == 1 && out_1.dtype() == DType::i64, "count_nonfinite", "one i64", out_1);
  const Call call("count_nonfinite", stream, {out_1, x});
  call.check(launch_count_nonfinite(data<std::int64_t>(out_1), raw(x), x.dtype(), x.numel(), call.stream()));
}

void CudaBackend::adamw(Tensor weight, Tensor master, Tensor m, Tensor v, const Tensor& grad, double grad_scale,
                        const AdamWArgs& args, Stream& stream) {
  const std::int64_t count = master.numel();
  require_acc("adamw", master);
  require_adamw("adamw", weight, master, m, v, grad, args);
  require(!weight.defined() || weight.dtype() == master.dtype() ||
              (weight.dtype() == DType::bf16 && master.dtype() == DType::f32),
          "adamw", "a weight of the master's type, or bf16 under an f32 master", weight, master);
  const double correction1 = 1.0 - std::pow(args.beta1, static_cast<double>(args.step));
  const double correction2 = 1.0 - std::pow(args.beta2, static_cast<double>(args.step));
  const AdamWStep step{.grad_scale = grad_scale,
                       .beta1 = args.beta1,
                       .beta2 = args.beta2,
                       .keep = 1.0 - args.lr * args.weight_decay,
                       .rate = args.lr / correction1,
                       .inverse_root2 = 1.0 / std::sqrt(correction2),
                       .eps = args.eps};
  const Call call("adamw", stream, {weight, master, m, v, grad});
  call.check(launch_adamw(raw(weight), weight.dtype(), raw(master), master.dtype(), raw(m), raw(v), m.dtype(),
                          raw(grad), step, count, call.stream()));
}

}  // namespace athanor::cuda
