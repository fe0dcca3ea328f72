#include "src/backend/cuda/adamw_kernels.cuh"

#include "src/backend/cuda/device.cuh"

namespace athanor::cuda {
namespace {

/// Blocks of a sum over so many packs: depends on nothing else.
unsigned sum_blocks(std::int64_t packs) {
  const std::int64_t wanted = packs_of(packs, kThreads * 4);
  return static_cast<unsigned>(wanted < kSumPieces ? wanted : kSumPieces);
}

template <class T>
__global__ void piece_kernel(double* pieces, Packs<const T> x, Packs<const T> y, std::int64_t packs) {
  double sum = 0.0;
  acc_t<T> a[kPack<T>], b[kPack<T>];
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t p = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; p < packs; p += step) {
    x.load(p, a);
    if (y.data) y.load(p, b);
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i)
      sum += y.data ? static_cast<double>(a[i]) * static_cast<double>(b[i]) : static_cast<double>(a[i]);
  }
  sum = team_sum(sum);
  if (threadIdx.x == 0) pieces[blockIdx.x] = sum;
}

__global__ void add_pieces_kernel(double* out, const double* pieces, unsigned count) {
  double sum = 0.0;
  for (unsigned i = threadIdx.x; i < count; i += blockDim.x) sum += pieces[i];
  sum = team_sum(sum);
  if (threadIdx.x == 0) *out += sum;
}

template <class T>
__global__ void count_nonfinite_kernel(std::int64_t* out, Packs<const T> x, std::int64_t packs) {
  int found = 0;
  acc_t<T> values[kPack<T>];
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t p = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; p < packs; p += step) {
    x.load(p, values);
    // What differs from itself by something else than 0 is infinite or NaN.
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i) found += values[i] - values[i] == acc_t<T>{0} ? 0 : 1;
  }
  found = team_sum(found);
  if (threadIdx.x == 0 && found > 0)
    atomicAdd(reinterpret_cast<unsigned long long*>(out), static_cast<unsigned long long>(found));
}

template <class Acc>
struct StepOf {
  Acc grad_scale, beta1, one_minus_beta1, beta2, one_minus_beta2, keep, rate, inverse_root2, eps;
  explicit StepOf(const AdamWStep& s)
      : grad_scale(static_cast<Acc>(s.grad_scale)),
        beta1(static_cast<Acc>(s.beta1)),
        one_minus_beta1(static_cast<Acc>(1.0 - s.beta1)),
        beta2(static_cast<Acc>(s.beta2)),
        one_minus_beta2(static_cast<Acc>(1.0 - s.beta2)),
        keep(static_cast<Acc>(s.keep)),
        rate(static_cast<Acc>(s.rate)),
        inverse_root2(static_cast<Acc>(s.inverse_root2)),
        eps(static_cast<Acc>(s.eps)) {}
};

template <class Acc, class Moment, class Weight>
struct Update {
  static constexpr int kCount = 4;
  Packs<Weight, kCount> weight;
  Packs<Acc, kCount> master;
  Packs<Moment, kCount> m, v;
  Packs<const Acc, kCount> grad;
  StepOf<Acc> s;
  __device__ void operator()(std::int64_t pack) const {
    Acc w[kCount], g[kCount];
    acc_t<Moment> first[kCount], second[kCount];
    grad.load(pack, g);
    master.load(pack, w);
    m.load(pack, first);
    v.load(pack, second);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      g[i] *= s.grad_scale;
      const Acc mean = s.beta1 * static_cast<Acc>(first[i]) + s.one_minus_beta1 * g[i];
      const Acc square = s.beta2 * static_cast<Acc>(second[i]) + s.one_minus_beta2 * (g[i] * g[i]);
      first[i] = static_cast<acc_t<Moment>>(mean);
      second[i] = static_cast<acc_t<Moment>>(square);
      w[i] = w[i] * s.keep - s.rate * mean / (root(square) * s.inverse_root2 + s.eps);
    }
    m.store(pack, first);
    v.store(pack, second);
    master.store(pack, w);
    if (weight.data) weight.store(pack, w);
  }
};

}  // namespace

cudaError_t launch_sum_of_products(double* out, double* scratch, const void* x, const void* y, DType dtype,
                                   std::int64_t count, cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  return with_floating(dtype, [&](auto type) {
    using T = decltype(type);
    const std::int64_t packs = packs_of(count, kPack<T>);
    const unsigned blocks = sum_blocks(packs);
    const cudaError_t status =
        launch(piece_kernel<T>, {blocks, kThreads}, stream, scratch, packs_at(static_cast<const T*>(x), count),
               packs_at(static_cast<const T*>(y), count), packs);
    if (status != cudaSuccess) return status;
    return launch(add_pieces_kernel, {1, kThreads}, stream, out, scratch, blocks);
  });
}

cudaError_t launch_count_nonfinite(std::int64_t* out, const void* x, DType dtype, std::int64_t count,
                                   cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  return with_floating(dtype, [&](auto type) {
    using T = decltype(type);
    const std::int64_t packs = packs_of(count, kPack<T>);
    return launch(count_nonfinite_kernel<T>, {sum_blocks(packs), kThreads}, stream, out,
                  packs_at(static_cast<const T*>(x), count), packs);
  });
}

cudaError_t launch_adamw(void* weight, DType weight_type, void* master, DType acc, void* m, void* v, DType moment,
                         const void* grad, const AdamWStep& step, std::int64_t count, cudaStream_t stream) {
  return with_acc(acc, [&](auto acc_type) {
    using Acc = decltype(acc_type);
    const auto with = [&](auto moment_of, auto weight_of) {
      using Moment = decltype(moment_of);
      using Weight = decltype(weight_of);
      using Pass = Update<Acc, Moment, Weight>;
      constexpr int kCount = Pass::kCount;
      return for_each(Pass{packs_at<Weight, kCount>(static_cast<Weight*>(weight), count),
                           packs_at<Acc, kCount>(static_cast<Acc*>(master), count),
                           packs_at<Moment, kCount>(static_cast<Moment*>(m), count),
                           packs_at<Moment, kCount>(static_cast<Moment*>(v), count),
                           packs_at<const Acc, kCount>(static_cast<const Acc*>(grad), count), StepOf<Acc>(step)},
                      packs_of(count, kCount), stream);
    };
    const bool narrow_weight = weight && weight_type == DType::bf16;
    if (moment == DType::bf16) return narrow_weight ? with(Bf16{}, Bf16{}) : with(Bf16{}, Acc{});
    return narrow_weight ? with(Acc{}, Bf16{}) : with(Acc{}, Acc{});
  });
}

}  // namespace athanor::cuda
