#include "src/backend/cuda/permute_kernels.cuh"

#include "src/backend/cuda/device.cuh"

namespace athanor::cuda {
namespace {

/// Pairs in the order of experts, those of none last: the first `rows` of them are rows.
struct FinishSort {
  std::int32_t *pair_of, *row_of;
  const std::int32_t *order, *offsets;
  std::int64_t rows, num_experts;
  IdCheck rows_check;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t found = offsets[num_experts];
    if (i == 0) rows_check.holds(found, 0);
    const std::int32_t pair = order[i];
    row_of[pair] = i < found ? static_cast<std::int32_t>(i) : -1;
    if (i < found && i < rows) pair_of[i] = pair;
  }
};

struct CheckIds {
  const std::int32_t* ids;
  IdCheck check;
  __device__ void operator()(std::int64_t i) const { check.holds(ids[i], i); }
};

template <class T>
struct Unpermute {
  Rows<T> y;
  Rows<const T> x;
  const std::int32_t* row_of;
  const acc_t<T>* weights;
  bool accumulate;
  std::int64_t top_k, packs;
  IdCheck check;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t t = i / packs, pack = i % packs;
    acc_t<T> sum[kPack<T>] = {}, values[kPack<T>];
    if (accumulate) y.row(t).load(pack, sum);
    for (std::int64_t k = 0; k < top_k; ++k) {
      const std::int64_t pair = t * top_k + k, row = row_of[pair];
      if (!check.contains(row) && pack == 0) check.tell(row, pair);
      if (row < 0 || row >= check.limit) continue;
      x.row(row).load(pack, values);
      const acc_t<T> weight = weights ? weights[pair] : acc_t<T>{1};
#pragma unroll
      for (int e = 0; e < kPack<T>; ++e) sum[e] += values[e] * weight;
    }
    y.row(t).store(pack, sum);
  }
};

/// A team for every pair.
template <class T>
__global__ void unpermute_backward_kernel(Rows<T> dx, acc_t<T>* dweights, Rows<const T> dy, Rows<const T> x,
                                          const std::int32_t* row_of, const acc_t<T>* weights, std::int64_t pairs,
                                          std::int64_t top_k, IdCheck check) {
  constexpr int kCount = kPack<T>;
  const std::int64_t pair = team_row();
  if (pair >= pairs) return;
  const std::int64_t row = row_of[pair], packs = packs_of(x.width, kCount);
  if (!check.contains(row) && threadIdx.x == 0) check.tell(row, pair);
  if (row < 0 || row >= check.limit) {
    if (dweights && threadIdx.x == 0) dweights[pair] = acc_t<T>{0};
    return;
  }
  const acc_t<T> weight = weights ? weights[pair] : acc_t<T>{1};
  acc_t<T> d[kCount], values[kCount], dot{};
  for (std::int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
    dy.row(pair / top_k).load(p, d);
    x.row(row).load(p, values);
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      dot += d[e] * values[e];
      d[e] *= weight;
    }
    dx.row(row).store(p, d);
  }
  dot = team_sum(dot);
  if (dweights && threadIdx.x == 0) dweights[pair] = dot;
}

}  // namespace

cudaError_t launch_finish_sort(std::int32_t* pair_of, std::int32_t* row_of, const std::int32_t* order,
                               const std::int32_t* offsets, std::int64_t pairs, std::int64_t rows,
                               std::int64_t num_experts, const IdCheck& rows_check, cudaStream_t stream) {
  return for_each(FinishSort{pair_of, row_of, order, offsets, rows, num_experts, rows_check}, pairs, stream);
}

cudaError_t launch_check_ids(const std::int32_t* ids, std::int64_t count, const IdCheck& check, cudaStream_t stream) {
  return for_each(CheckIds{ids, check}, count, stream);
}

cudaError_t launch_unpermute_rows(void* y, const void* x, const std::int32_t* row_of, const void* weights,
                                  bool accumulate, DType dtype, const Unpermuted& u, const IdCheck& check,
                                  cudaStream_t stream) {
  return with_floating(dtype, [&](auto type) {
    using T = decltype(type);
    const std::int64_t packs = packs_of(u.width, kPack<T>);
    return for_each(Unpermute<T>{rows_at(static_cast<T*>(y), u.width), rows_at(static_cast<const T*>(x), u.width),
                                 row_of, static_cast<const acc_t<T>*>(weights), accumulate, u.top_k, packs, check},
                    u.tokens * packs, stream);
  });
}

cudaError_t launch_unpermute_rows_backward(void* dx, void* dweights, const void* dy, const void* x,
                                           const std::int32_t* row_of, const void* weights, DType dtype,
                                           const Unpermuted& u, const IdCheck& check, cudaStream_t stream) {
  const std::int64_t pairs = u.tokens * u.top_k;
  if (pairs == 0) return cudaSuccess;
  return with_floating(dtype, [&](auto type) {
    using T = decltype(type);
    const auto in = [&](const void* from) { return rows_at(static_cast<const T*>(from), u.width); };
    return launch(unpermute_backward_kernel<T>, team_shape(pairs, packs_of(u.width, kPack<T>)), stream,
                  rows_at(static_cast<T*>(dx), u.width), static_cast<acc_t<T>*>(dweights), in(dy), in(x), row_of,
                  static_cast<const acc_t<T>*>(weights), pairs, u.top_k, check);
  });
}

}  // namespace athanor::cuda
