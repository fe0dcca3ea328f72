// Backward of attention in f32 and f64 without tensor cores: the oracle path, in the order of
// attention_backward_kernels.cu (dk and dv by tiles of keys, dq by tiles of queries; no atomic sums).
#include "src/backend/cuda/attention_backward_units.cuh"

namespace athanor::cuda {
namespace {

constexpr int kTile = 16, kThreads = 256;  ///< a thread makes one score of a tile
static_assert(kThreads == kTile * kTile && kKeysOfTile % kTile == 0);

/// Four rows of one column, side by side.
template <class T>
struct alignas(4 * sizeof(T)) Quad {
  T row[4];
};

/// Shared memory of a block, in elements. Rows are of odd stride, so that they lie in different banks; gradients and
/// weights have kTile rows side by side: [columns, kTile].
struct Layout {
  int qk_stride, v_stride;
  int first, second;  ///< gradients: dk and dv, or dq
  int p, ds;          ///< [kTile of the other side, kTile]
  int q, d_o, k, v, size;
};
__host__ __device__ constexpr Layout layout_of(int qk_dim, int v_dim) {
  Layout out{};
  out.qk_stride = qk_dim + (qk_dim % 2 == 0 ? 1 : 0);
  out.v_stride = v_dim + (v_dim % 2 == 0 ? 1 : 0);
  out.second = qk_dim * kTile;
  out.p = out.second + v_dim * kTile;
  out.ds = out.p + kTile * kTile;
  out.q = out.ds + kTile * kTile;
  out.d_o = out.q + kTile * out.qk_stride;
  out.k = out.d_o + kTile * out.v_stride;
  out.v = out.k + kTile * out.qk_stride;
  out.size = out.v + kTile * out.v_stride;
  return out;
}

template <class T>
struct Block {
  const AttendBackwardArgs<T>& a;
  Layout at;
  T* memory;

  __device__ static int thread() { return static_cast<int>(threadIdx.x); }

  /// kTile rows of `from` [rows, heads, width] from row `first`, zeros from `end` on.
  __device__ void load(int to, int stride, const T* from, int first, int end, int heads, int head, int width) const {
    for (int i = thread(); i < kTile * width; i += kThreads) {
      const int row = i / width, column = i % width;
      memory[to + row * stride + column] =
          first + row < end ? from[((static_cast<std::int64_t>(first) + row) * heads + head) * width + column] : T{0};
    }
  }
  __device__ void load_queries(int first, int end, int head) const {
    load(at.q, at.qk_stride, a.q, first, end, a.num_heads, head, a.qk_dim);
    load(at.d_o, at.v_stride, a.d_o, first, end, a.num_heads, head, a.v_dim);
  }
  __device__ void load_keys(int first, int end, int g) const {
    load(at.k, at.qk_stride, a.k, first, end, a.num_kv_heads, g, a.qk_dim);
    load(at.v, at.v_stride, a.v, first, end, a.num_kv_heads, g, a.v_dim);
  }

  /// P and dS of query row `row` and key row `column` of the tiles in memory, each thread one pair, to `to` of p and
  /// ds.
  __device__ void weigh(int row, int column, int query, int queries_end, int key, int head, int to) const {
    T p = 0, ds = 0;
    if (query < queries_end && key >= a.key_begin_T[query] && key < key_end_of(a, query)) {
      const std::int64_t index = static_cast<std::int64_t>(query) * a.num_heads + head;
      T s = 0, dp = 0;
      for (int d = 0; d < a.qk_dim; ++d)
        s = multiply_add(memory[at.q + row * at.qk_stride + d], memory[at.k + column * at.qk_stride + d], s);
      for (int d = 0; d < a.v_dim; ++d)
        dp = multiply_add(memory[at.d_o + row * at.v_stride + d], memory[at.v + column * at.v_stride + d], dp);
      p = exponential(multiply_add(s, a.scale, -a.lse_TH[index]));
      ds = p * (dp - a.delta_TH[index]);
    }
    memory[at.p + to] = p;
    memory[at.ds + to] = ds;
  }

  /// gradient[columns, kTile] += weights[kTile, kTile]^T * rows[kTile, columns].
  __device__ void accumulate(int gradient, int weights, int rows, int stride, int columns) const {
    for (int i = thread(); i < columns * (kTile / 4); i += kThreads) {
      const int column = i % columns, first = i / columns * 4;
      auto& sum = *reinterpret_cast<Quad<T>*>(memory + gradient + column * kTile + first);
      Quad<T> acc = sum;
      for (int j = 0; j < kTile; ++j) {
        const T value = memory[rows + j * stride + column];
        const Quad<T> weight = *reinterpret_cast<const Quad<T>*>(memory + weights + j * kTile + first);
        for (int r = 0; r < 4; ++r) acc.row[r] = multiply_add(weight.row[r], value, acc.row[r]);
      }
      sum = acc;
    }
  }

  __device__ void clear(int gradient, int columns) const {
    for (int i = thread(); i < columns * kTile; i += kThreads) memory[gradient + i] = 0;
  }
  __device__ void write(T* to, int gradient, int first, int end, int heads, int head, int width, T factor) const {
    for (int i = thread(); i < kTile * width; i += kThreads) {
      const int row = i / width, column = i % width;
      if (first + row < end)
        to[((static_cast<std::int64_t>(first) + row) * heads + head) * width + column] =
            memory[gradient + column * kTile + row] * factor;
    }
  }
};

/// A tile of 64 keys is taken 16 at a time.
template <class T>
__global__ void __launch_bounds__(kThreads) keys_kernel(AttendBackwardArgs<T> a) {
  __shared__ int slot;
  const Block<T> block{a, layout_of(a.qk_dim, a.v_dim), dynamic_shared<T>()};
  const int row = block.thread() / kTile, column = block.thread() % kTile, group = a.num_heads / a.num_kv_heads;

  KeyUnit unit{};
  while (next_key_unit<kTile>(a, slot, unit))
    for (int first_key = unit.key; first_key < unit.key_end; first_key += kTile) {
      block.load_keys(first_key, unit.key_end, unit.g);
      block.clear(block.at.first, a.qk_dim);
      block.clear(block.at.second, a.v_dim);
      for (int head = unit.g * group; head < (unit.g + 1) * group; ++head)
        for (int first = unit.first_query; first < unit.query_end; first += kTile) {
          __syncthreads();
          block.load_queries(first, unit.query_end, head);
          __syncthreads();
          block.weigh(row, column, first + row, unit.query_end, first_key + column, head, row * kTile + column);
          __syncthreads();
          block.accumulate(block.at.second, block.at.p, block.at.d_o, block.at.v_stride, a.v_dim);
          block.accumulate(block.at.first, block.at.ds, block.at.q, block.at.qk_stride, a.qk_dim);
        }
      __syncthreads();
      block.write(a.dk, block.at.first, first_key, unit.key_end, a.num_kv_heads, unit.g, a.qk_dim, a.scale);
      block.write(a.dv, block.at.second, first_key, unit.key_end, a.num_kv_heads, unit.g, a.v_dim, T{1});
      __syncthreads();
    }
}

template <class T>
__global__ void __launch_bounds__(kThreads) queries_kernel(AttendBackwardArgs<T> a) {
  __shared__ int slot;
  const Block<T> block{a, layout_of(a.qk_dim, a.v_dim), dynamic_shared<T>()};
  const int row = block.thread() % kTile, column = block.thread() / kTile;

  QueryUnit unit{};
  while (next_query_unit(a, slot, unit)) {
    const int g = unit.head / (a.num_heads / a.num_kv_heads);
    const int first_key = unit.origin + (a.key_begin_T[unit.begin] - unit.origin) / kTile * kTile;
    const int end_key = key_end_of(a, unit.end - 1);
    block.load_queries(unit.begin, unit.end, unit.head);
    block.clear(block.at.first, a.qk_dim);
    for (int key = first_key; key < end_key; key += kTile) {
      __syncthreads();
      block.load_keys(key, end_key, g);
      __syncthreads();
      block.weigh(row, column, unit.begin + row, unit.end, key + column, unit.head, column * kTile + row);
      __syncthreads();
      block.accumulate(block.at.first, block.at.ds, block.at.k, block.at.qk_stride, a.qk_dim);
    }
    __syncthreads();
    block.write(a.dq, block.at.first, unit.begin, unit.end, a.num_heads, unit.head, a.qk_dim, a.scale);
  }
}

template <class T>
BackwardLaunch launch_of(int qk_dim, int v_dim) {
  const std::size_t bytes = static_cast<std::size_t>(layout_of(qk_dim, v_dim).size) * sizeof(T);
  const TileLaunch launch{kTile, 0, blocks_that_fit(bytes, kThreads), bytes};
  return {launch, launch};
}

template <class T>
cudaError_t launch_as(const AttendBackwardArgs<T>& args, int processors, cudaStream_t stream) {
  return launch_passes(args, processors, launch_of<T>(args.qk_dim, args.v_dim), kThreads, keys_kernel<T>,
                       queries_kernel<T>, stream);
}

}  // namespace

BackwardLaunch attend_backward_launch_f32(int qk_dim, int v_dim) { return launch_of<float>(qk_dim, v_dim); }
BackwardLaunch attend_backward_launch_f64(int qk_dim, int v_dim) { return launch_of<double>(qk_dim, v_dim); }
cudaError_t launch_attend_backward(const AttendBackwardArgs<float>& args, int processors, cudaStream_t stream) {
  return launch_as(args, processors, stream);
}
cudaError_t launch_attend_backward(const AttendBackwardArgs<double>& args, int processors, cudaStream_t stream) {
  return launch_as(args, processors, stream);
}

}  // namespace athanor::cuda
