#include "src/backend/cuda/norm_kernels.cuh"

#include "src/backend/cuda/column_sums.cuh"
#include "src/backend/cuda/device.cuh"

namespace athanor::cuda {
namespace {

template <class T>
__global__ void forward_kernel(Rows<T> y, acc_t<T>* rstds, Rows<const T> x, Packs<const T> w, std::int64_t rows,
                               acc_t<T> eps) {
  using Acc = acc_t<T>;
  constexpr int kCount = kPack<T>;
  const std::int64_t r = team_row(), packs = packs_of(x.width, kCount);
  if (r >= rows) return;
  const Packs<const T> in = x.row(r);
  Acc values[kCount], weights[kCount], squares{};
  for (std::int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
    in.load(p, values);
#pragma unroll
    for (int i = 0; i < kCount; ++i) squares += values[i] * values[i];
  }
  const Acc rstd = Acc{1} / root(team_sum(squares) / static_cast<Acc>(x.width) + eps);
  if (threadIdx.x == 0) rstds[r] = rstd;
  for (std::int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
    in.load(p, values);
    w.load(p, weights);
#pragma unroll
    for (int i = 0; i < kCount; ++i) values[i] = values[i] * rstd * weights[i];
    y.row(r).store(p, values);
  }
}

template <class T, bool kResidual>
__global__ void backward_input_kernel(Rows<T> dx, Rows<const T> dy, Rows<const T> x, Packs<const T> w,
                                      const acc_t<T>* rstds, Rows<const T> dresidual, std::int64_t rows) {
  using Acc = acc_t<T>;
  constexpr int kCount = kPack<T>;
  const std::int64_t r = team_row(), packs = packs_of(x.width, kCount);
  if (r >= rows) return;
  const Packs<const T> dy_row = dy.row(r), x_row = x.row(r);
  Acc d[kCount], values[kCount], weights[kCount], dot{};
  for (std::int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
    dy_row.load(p, d);
    x_row.load(p, values);
    w.load(p, weights);
#pragma unroll
    for (int i = 0; i < kCount; ++i) dot += d[i] * weights[i] * values[i];
  }
  // dx = rstd * (w dy - x * rstd^2 * mean(w dy x)).
  const Acc rstd = rstds[r], pull = rstd * rstd * team_sum(dot) / static_cast<Acc>(x.width);
  for (std::int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
    dy_row.load(p, d);
    x_row.load(p, values);
    w.load(p, weights);
    Acc residual[kCount] = {};
    if constexpr (kResidual) dresidual.row(r).load(p, residual);
#pragma unroll
    for (int i = 0; i < kCount; ++i) d[i] = residual[i] + rstd * (d[i] * weights[i] - values[i] * pull);
    dx.row(r).store(p, d);
  }
}

template <class T>
struct WeightTerm {
  Rows<const T> dy, x;
  const acc_t<T>* rstds;
  __device__ void operator()(std::int64_t r, std::int64_t pack, acc_t<T> (&values)[kPack<T>]) const {
    acc_t<T> d[kPack<T>];
    dy.row(r).load(pack, d);
    x.row(r).load(pack, values);
    const acc_t<T> rstd = rstds[r];
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i) values[i] = d[i] * (values[i] * rstd);
  }
};

}  // namespace

cudaError_t launch_rms_norm_forward(void* y, void* rstd, const void* x, const void* w, double eps, DType dtype,
                                    std::int64_t rows, std::int64_t width, cudaStream_t stream) {
  if (rows == 0) return cudaSuccess;
  return with_floating(dtype, [&](auto type) {
    using T = decltype(type);
    return launch(forward_kernel<T>, team_shape(rows, packs_of(width, kPack<T>)), stream,
                  rows_at(static_cast<T*>(y), width), static_cast<acc_t<T>*>(rstd),
                  rows_at(static_cast<const T*>(x), width), packs_at(static_cast<const T*>(w), width), rows,
                  static_cast<acc_t<T>>(eps));
  });
}

cudaError_t launch_rms_norm_backward_input(void* dx, const void* dy, const void* x, const void* w, const void* rstd,
                                           const void* dresidual, DType dtype, std::int64_t rows, std::int64_t width,
                                           cudaStream_t stream) {
  if (rows == 0) return cudaSuccess;
  return with_floating(dtype, [&](auto type) {
    using T = decltype(type);
    const auto in = [&](const void* from) { return rows_at(static_cast<const T*>(from), width); };
    return launch(dresidual ? backward_input_kernel<T, true> : backward_input_kernel<T, false>,
                  team_shape(rows, packs_of(width, kPack<T>)), stream, rows_at(static_cast<T*>(dx), width), in(dy),
                  in(x), packs_at(static_cast<const T*>(w), width), static_cast<const acc_t<T>*>(rstd), in(dresidual),
                  rows);
  });
}

cudaError_t launch_rms_norm_backward_weight(void* dw, void* workspace, const void* dy, const void* x, const void* rstd,
                                            DType dtype, std::int64_t rows, std::int64_t width, cudaStream_t stream) {
  return with_floating(dtype, [&](auto type) {
    using T = decltype(type);
    const auto in = [&](const void* from) { return rows_at(static_cast<const T*>(from), width); };
    return add_column_sums<T>(static_cast<acc_t<T>*>(dw), static_cast<acc_t<T>*>(workspace),
                              WeightTerm<T>{in(dy), in(x), static_cast<const acc_t<T>*>(rstd)}, rows, width, stream);
  });
}

}  // namespace athanor::cuda
