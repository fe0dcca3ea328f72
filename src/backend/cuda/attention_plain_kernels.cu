// Attention of f32 and f64 without tensor cores: the oracle path, every product in its own type. The same order as
// attention_kernels.cu: tiles of keys from the document's first key, a softmax that runs along, merged by
// kKeysPerSplit; a row has the same bits whatever shares its tile.
#include "src/backend/cuda/attention_units.cuh"
#include "src/backend/cuda/launch.cuh"

namespace athanor::cuda {
namespace {

constexpr int kRows = 16, kThreads = 128, kLanesOfRow = kThreads / kRows;

/// Keys of a tile; f64 takes half so that 576 columns fit.
template <class T>
constexpr int kKeys = sizeof(T) == 8 ? 16 : 32;

/// Four rows of one column, side by side.
template <class T>
struct alignas(4 * sizeof(T)) Quad {
  T row[4];
};

/// Shared memory of a block, in elements.
struct Layout {
  int key_stride, value_stride;  ///< of the tiles of keys and values; odd, so that rows lie in different banks
  int q, k, v, weights, acc, rows, size;
};
template <class T>
__host__ __device__ constexpr Layout layout_of(int qk_dim, int v_dim, bool values_in_keys) {
  Layout out{};
  out.key_stride = qk_dim + (qk_dim % 2 == 0 ? 1 : 0);
  out.value_stride = values_in_keys ? out.key_stride : v_dim;
  out.acc = qk_dim * kRows;                   // q first: [Q, kRows]
  out.weights = out.acc + v_dim * kRows;      // acc: [V, kRows]
  out.rows = out.weights + kKeys<T> * kRows;  // weights: [kKeys, kRows]
  out.k = out.rows + 3 * kRows;               // rows: fade, top, sum
  out.v = values_in_keys ? out.k : out.k + kKeys<T> * out.key_stride;
  out.size = out.v + kKeys<T> * out.value_stride;
  return out;
}

template <class T>
struct Block {
  const AttendArgs<T>& a;
  Layout at;
  T* memory;
  Unit unit;

  __device__ Quad<T>& quad(int offset, int column, int row) const {
    return *reinterpret_cast<Quad<T>*>(memory + offset + column * kRows + row);
  }
  __device__ T& fade(int row) const { return memory[at.rows + row]; }
  __device__ T& top(int row) const { return memory[at.rows + kRows + row]; }
  __device__ T& sum(int row) const { return memory[at.rows + 2 * kRows + row]; }

  __device__ void load_queries() const {
    for (int i = thread(); i < kRows * a.qk_dim; i += kThreads) {
      const std::int64_t row = unit_row(a, unit, i / a.qk_dim).index;
      memory[i % a.qk_dim * kRows + i / a.qk_dim] = row < 0 ? T{0} : a.q[row * a.qk_dim + i % a.qk_dim];
    }
  }
  __device__ void load_keys(int key, int end) const {
    const auto row = [&](int j) {
      return a.pages_SP ? key_row<true>(a.pages_SP, a.page_bits, unit.origin, key + j)
                        : key_row<false>(nullptr, 0, unit.origin, key + j);
    };
    for (int i = thread(); i < kKeys<T> * a.qk_dim; i += kThreads) {
      const int j = i / a.qk_dim, d = i % a.qk_dim;
      memory[at.k + j * at.key_stride + d] =
          key + j < end ? a.k[row(j) * a.k_stride + static_cast<std::int64_t>(unit.g) * a.qk_dim + d] : T{0};
    }
    if (a.values_in_keys) return;
    for (int i = thread(); i < kKeys<T> * a.v_dim; i += kThreads) {
      const int j = i / a.v_dim, d = i % a.v_dim;
      memory[at.v + j * at.value_stride + d] = key + j < end ? a.v[row(j) * a.v_stride + unit.g * a.v_head + d] : T{0};
    }
  }
  __device__ void clear() const {
    for (int i = thread(); i < kRows * a.v_dim; i += kThreads) memory[at.acc + i] = 0;
    if (thread() < kRows) {
      top(thread()) = minus_infinity<T>();
      sum(thread()) = 0;
    }
  }

  /// One tile of keys; `lo` and `hi` are those of row thread / kLanesOfRow.
  __device__ void step(int key, int lo, int hi) const {
    for (int i = thread(); i < kKeys<T> * kRows / 4; i += kThreads) {
      const int j = i % kKeys<T>, row = i / kKeys<T> * 4;
      Quad<T> s{};
      for (int d = 0; d < a.qk_dim; ++d) {
        const T k = memory[at.k + j * at.key_stride + d];
        const Quad<T> q = quad(0, d, row);
        for (int r = 0; r < 4; ++r) s.row[r] = multiply_add(q.row[r], k, s.row[r]);
      }
      quad(at.weights, j, row) = s;
    }
    __syncthreads();

    const int row = thread() / kLanesOfRow, part = thread() % kLanesOfRow;
    T highest = top(row);
    for (int j = part; j < kKeys<T>; j += kLanesOfRow) {
      T& s = memory[at.weights + j * kRows + row];
      if (key + j < lo || key + j >= hi) s = minus_infinity<T>();
      if (s > highest) highest = s;
    }
    for (int step = 1; step < kLanesOfRow; step *= 2) {
      const T other = __shfl_xor_sync(0xffffffffU, highest, step);
      if (other > highest) highest = other;
    }
    const T base = highest == minus_infinity<T>() ? T{0} : highest;
    T total = 0;
    for (int j = part; j < kKeys<T>; j += kLanesOfRow) {
      T& s = memory[at.weights + j * kRows + row];
      s = exponential((s - base) * a.scale);
      total += s;
    }
    for (int step = 1; step < kLanesOfRow; step *= 2) total += __shfl_xor_sync(0xffffffffU, total, step);
    if (part == 0) {
      fade(row) = exponential((top(row) - base) * a.scale);
      top(row) = highest;
      sum(row) = multiply_add(sum(row), fade(row), total);
    }
    __syncthreads();

    for (int i = thread(); i < a.v_dim * (kRows / 4); i += kThreads) {
      const int column = i % a.v_dim, first = i / a.v_dim * 4;
      Quad<T> acc = quad(at.acc, column, first);
      for (int r = 0; r < 4; ++r) acc.row[r] *= fade(first + r);
      for (int j = 0; j < kKeys<T>; ++j) {
        const T v = memory[at.v + j * at.value_stride + column];
        const Quad<T> p = quad(at.weights, j, first);
        for (int r = 0; r < 4; ++r) acc.row[r] = multiply_add(p.row[r], v, acc.row[r]);
      }
      quad(at.acc, column, first) = acc;
    }
    __syncthreads();
  }

  /// Merges what `place` holds of earlier splits, [V + 2, kRows] with top and sum last, with the present one.
  __device__ void fold(const T* place) const {
    for (int i = thread(); i < kRows * a.v_dim; i += kThreads) {
      const int row = i % kRows;
      const auto fold = Fold<T>::template of<false>(place[a.v_dim * kRows + row], top(row), a.scale);
      memory[at.acc + i] = fold.sum(place[i], memory[at.acc + i]);
    }
    __syncthreads();
    if (thread() < kRows) {
      const int row = thread();
      const auto fold = Fold<T>::template of<false>(place[a.v_dim * kRows + row], top(row), a.scale);
      sum(row) = fold.sum(place[(a.v_dim + 1) * kRows + row], sum(row));
      top(row) = fold.top;
    }
    __syncthreads();
  }
  __device__ void park(T* place) const {
    for (int i = thread(); i < kRows * (a.v_dim + 2); i += kThreads)
      place[i] = i < kRows * a.v_dim ? memory[at.acc + i] : memory[at.rows + kRows + i - kRows * a.v_dim];
    __syncthreads();
  }

  /// The rows to o and lse, or to the partial results of their split.
  __device__ void write() const {
    for (int i = thread(); i < kRows * a.v_dim; i += kThreads) {
      const int r = i / a.v_dim, column = i % a.v_dim;
      const UnitRow row = unit_row(a, unit, r);
      if (row.index < 0) continue;
      const T acc = memory[at.acc + column * kRows + r];
      if (a.parallel_splits > 0 && row.hi > kKeysPerSplit) {
        T* to = a.partial + (row.index * a.parallel_splits + unit.split) * (a.v_dim + 2);
        to[column] = acc;
        if (column == 0) {
          to[a.v_dim] = top(r);
          to[a.v_dim + 1] = sum(r);
        }
      } else if (unit.split == 0) {
        a.o[row.index * a.v_dim + column] = sum(r) > 0 ? acc / sum(r) : T{0};
        if (a.lse_TH && column == 0) a.lse_TH[row.index] = multiply_add(top(r), a.scale, logarithm(sum(r)));
      }
    }
  }

  __device__ static int thread() { return static_cast<int>(threadIdx.x); }
};

template <class T>
__global__ void __launch_bounds__(kThreads) attend_kernel(AttendArgs<T> a) {
  __shared__ int slot;
  __shared__ int lo[kRows], hi[kRows];
  Block<T> block{a, layout_of<T>(a.qk_dim, a.v_dim, a.values_in_keys), dynamic_shared<T>(), {}};
  const int thread = static_cast<int>(threadIdx.x);
  T* place = a.parked + static_cast<std::int64_t>(blockIdx.x) * kRows * (a.v_dim + 2);

  while (next_unit(a, slot, block.unit)) {
    if (thread < kRows) {
      const UnitRow row = unit_row(a, block.unit, thread);
      lo[thread] = row.index < 0 ? 0 : row.lo;
      hi[thread] = row.index < 0 ? 0 : row.hi;
    }
    block.load_queries();
    block.clear();
    __syncthreads();
    const KeyRange range = range_of_rows<kRows>(lo, hi);
    int key = range.lo / kKeys<T> * kKeys<T>, end = range.hi;
    if (a.parallel_splits > 0) {
      key = max(key, block.unit.split * kKeysPerSplit);
      end = min(end, (block.unit.split + 1) * kKeysPerSplit);
    }
    bool parked = false;
    for (; key < end; key += kKeys<T>) {
      block.load_keys(key, end);
      __syncthreads();
      block.step(key, lo[thread / kLanesOfRow], hi[thread / kLanesOfRow]);
      if ((key + kKeys<T>) % kKeysPerSplit == 0 && key + kKeys<T> < end) {
        if (parked) block.fold(place);
        block.park(place);
        block.clear();
        parked = true;
      }
    }
    if (parked) block.fold(place);
    block.write();
  }
}

template <class T>
TileLaunch launch_of(int qk_dim, int v_dim, bool values_in_keys) {
  const Layout layout = layout_of<T>(qk_dim, v_dim, values_in_keys);
  const std::size_t bytes = static_cast<std::size_t>(layout.size) * sizeof(T);
  return {kRows, v_dim + 2, blocks_that_fit(bytes, kThreads), bytes};
}

template <class T>
cudaError_t launch_as(const AttendArgs<T>& args, int blocks, cudaStream_t stream) {
  const TileLaunch shape = launch_of<T>(args.qk_dim, args.v_dim, args.values_in_keys);
  return launch(attend_kernel<T>, LaunchShape{dim3(static_cast<unsigned>(blocks)), dim3(kThreads), shape.shared_bytes},
                stream, args);
}

}  // namespace

TileLaunch attend_launch_f32(int qk_dim, int v_dim, bool values_in_keys) {
  return launch_of<float>(qk_dim, v_dim, values_in_keys);
}
TileLaunch attend_launch_f64(int qk_dim, int v_dim, bool values_in_keys) {
  return launch_of<double>(qk_dim, v_dim, values_in_keys);
}
cudaError_t launch_attend(const AttendArgs<float>& args, int blocks, cudaStream_t stream) {
  return launch_as(args, blocks, stream);
}
cudaError_t launch_attend(const AttendArgs<double>& args, int blocks, cudaStream_t stream) {
  return launch_as(args, blocks, stream);
}

}  // namespace athanor::cuda
