#include "src/backend/cuda/elementwise_kernels.cuh"

#include "src/backend/cuda/column_sums.cuh"
#include "src/backend/cuda/device.cuh"

namespace athanor::cuda {
namespace {

template <class T>
struct Add {
  Packs<T> out;
  Packs<const T> a, b;
  __device__ void operator()(std::int64_t pack) const {
    acc_t<T> x[kPack<T>], y[kPack<T>];
    a.load(pack, x);
    b.load(pack, y);
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i) x[i] += y[i];
    out.store(pack, x);
  }
};

template <class T>
struct Scale {
  Packs<T> values;
  acc_t<T> factor;
  __device__ void operator()(std::int64_t pack) const {
    acc_t<T> x[kPack<T>];
    values.load(pack, x);
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i) x[i] *= factor;
    values.store(pack, x);
  }
};

template <class T>
struct AddBias {
  Rows<T> rows;
  Packs<const T> bias;
  std::int64_t packs;  ///< of a row
  __device__ void operator()(std::int64_t i) const {
    const Packs<T> row = rows.row(i / packs);
    acc_t<T> x[kPack<T>], b[kPack<T>];
    row.load(i % packs, x);
    bias.load(i % packs, b);
#pragma unroll
    for (int e = 0; e < kPack<T>; ++e) x[e] += b[e];
    row.store(i % packs, x);
  }
};

template <class T>
struct RowTerm {
  Rows<const T> dy;
  __device__ void operator()(std::int64_t r, std::int64_t pack, acc_t<T> (&values)[kPack<T>]) const {
    dy.row(r).load(pack, values);
  }
};

template <class T>
struct SwigluForward {
  Packs<T> y;
  Packs<const T> gate, up;
  __device__ void operator()(std::int64_t pack) const {
    acc_t<T> g[kPack<T>], u[kPack<T>];
    gate.load(pack, g);
    up.load(pack, u);
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i) u[i] = g[i] * sigmoid(g[i]) * u[i];
    y.store(pack, u);
  }
};

template <class T>
struct SwigluBackward {
  Packs<T> dgate, dup;
  Packs<const T> dy, gate, up;
  __device__ void operator()(std::int64_t pack) const {
    using Acc = acc_t<T>;
    Acc d[kPack<T>], g[kPack<T>], u[kPack<T>];
    dy.load(pack, d);
    gate.load(pack, g);
    up.load(pack, u);
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i) {
      // silu(g) = g s; silu'(g) = s (1 + g (1 - s)).
      const Acc s = sigmoid(g[i]), silu = g[i] * s;
      g[i] = d[i] * u[i] * s * (Acc{1} + g[i] * (Acc{1} - s));
      u[i] = d[i] * silu;
    }
    dgate.store(pack, g);
    dup.store(pack, u);
  }
};

}  // namespace

cudaError_t launch_add(void* out, const void* a, const void* b, DType dtype, std::int64_t count, cudaStream_t stream) {
  return with_floating(dtype, [&](auto type) {
    using T = decltype(type);
    return for_each(Add<T>{packs_at(static_cast<T*>(out), count), packs_at(static_cast<const T*>(a), count),
                           packs_at(static_cast<const T*>(b), count)},
                    packs_of(count, kPack<T>), stream);
  });
}

cudaError_t launch_scale(void* x, double factor, DType dtype, std::int64_t count, cudaStream_t stream) {
  return with_floating(dtype, [&](auto type) {
    using T = decltype(type);
    return for_each(Scale<T>{packs_at(static_cast<T*>(x), count), static_cast<acc_t<T>>(factor)},
                    packs_of(count, kPack<T>), stream);
  });
}

cudaError_t launch_add_bias(void* x, const void* bias, DType dtype, std::int64_t rows, std::int64_t columns,
                            cudaStream_t stream) {
  return with_floating(dtype, [&](auto type) {
    using T = decltype(type);
    const std::int64_t packs = packs_of(columns, kPack<T>);
    return for_each(
        AddBias<T>{rows_at(static_cast<T*>(x), columns), packs_at(static_cast<const T*>(bias), columns), packs},
        rows * packs, stream);
  });
}

cudaError_t launch_bias_backward(void* sums, void* workspace, const void* dy, DType dtype, std::int64_t rows,
                                 std::int64_t columns, cudaStream_t stream) {
  return with_floating(dtype, [&](auto type) {
    using T = decltype(type);
    return add_column_sums<T>(static_cast<acc_t<T>*>(sums), static_cast<acc_t<T>*>(workspace),
                              RowTerm<T>{rows_at(static_cast<const T*>(dy), columns)}, rows, columns, stream);
  });
}

cudaError_t launch_swiglu_forward(void* y, const void* gate, const void* up, DType dtype, std::int64_t count,
                                  cudaStream_t stream) {
  return with_floating(dtype, [&](auto type) {
    using T = decltype(type);
    return for_each(SwigluForward<T>{packs_at(static_cast<T*>(y), count), packs_at(static_cast<const T*>(gate), count),
                                     packs_at(static_cast<const T*>(up), count)},
                    packs_of(count, kPack<T>), stream);
  });
}

cudaError_t launch_swiglu_backward(void* dgate, void* dup, const void* dy, const void* gate, const void* up,
                                   DType dtype, std::int64_t count, cudaStream_t stream) {
  return with_floating(dtype, [&](auto type) {
    using T = decltype(type);
    const auto in = [&](const void* from) { return packs_at(static_cast<const T*>(from), count); };
    return for_each(SwigluBackward<T>{packs_at(static_cast<T*>(dgate), count), packs_at(static_cast<T*>(dup), count),
                                      in(dy), in(gate), in(up)},
                    packs_of(count, kPack<T>), stream);
  });
}

}  // namespace athanor::cuda
