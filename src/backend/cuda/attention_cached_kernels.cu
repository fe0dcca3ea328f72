// The end of a decode whose rows were cut along their keys: merges the splits of a row in order, so that the result is
// the one of a block that walked them all.
#include "src/backend/cuda/attention_units.cuh"
#include "src/backend/cuda/launch.cuh"

namespace athanor::cuda {
namespace {

constexpr int kThreads = 128;
constexpr float kLog2E = 1.4426950408889634F;

template <class T>
struct Finish {
  static constexpr bool kExp2 = false;
  __device__ static T scale(T scale) { return scale; }
  __device__ static T element(T acc, T sum) { return acc / sum; }
};
template <>
struct Finish<bf16> {
  static constexpr bool kExp2 = true;
  __device__ static float scale(float scale) { return scale * kLog2E; }
  __device__ static bf16 element(float acc, float sum) { return to_bf16(acc * (1.0F / sum)); }
};

/// A block a row and head; threads along its columns.
template <class T>
__global__ void __launch_bounds__(kThreads) merge_splits_kernel(AttendArgs<T> a) {
  using Acc = typename AttendArgs<T>::Acc;
  const std::int64_t row = blockIdx.x;
  const int length = a.lengths_R[row / a.num_heads];
  if (length <= kKeysPerSplit) return;
  const int splits = (length + kKeysPerSplit - 1) / kKeysPerSplit;
  const Acc scale = Finish<T>::scale(a.scale);
  const Acc* parts = a.partial + row * a.parallel_splits * (a.v_dim + 2);
  for (int column = static_cast<int>(threadIdx.x); column < a.v_dim; column += kThreads) {
    Acc acc = parts[column], top = parts[a.v_dim], sum = parts[a.v_dim + 1];
    for (int split = 1; split < splits; ++split) {
      const Acc* part = parts + static_cast<std::int64_t>(split) * (a.v_dim + 2);
      const auto fold = Fold<Acc>::template of<Finish<T>::kExp2>(top, part[a.v_dim], scale);
      acc = fold.sum(acc, part[column]);
      sum = fold.sum(sum, part[a.v_dim + 1]);
      top = fold.top;
    }
    a.o[row * a.v_dim + column] = Finish<T>::element(acc, sum);
  }
}

template <class T>
cudaError_t launch_as(const AttendArgs<T>& args, int rows, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(rows) * static_cast<unsigned>(args.num_heads);
  return launch(merge_splits_kernel<T>, LaunchShape{dim3(blocks), dim3(kThreads), 0}, stream, args);
}

}  // namespace

cudaError_t launch_merge_splits(const AttendArgs<bf16>& args, int rows, cudaStream_t stream) {
  return launch_as(args, rows, stream);
}
cudaError_t launch_merge_splits(const AttendArgs<float>& args, int rows, cudaStream_t stream) {
  return launch_as(args, rows, stream);
}
cudaError_t launch_merge_splits(const AttendArgs<double>& args, int rows, cudaStream_t stream) {
  return launch_as(args, rows, stream);
}

}  // namespace athanor::cuda
