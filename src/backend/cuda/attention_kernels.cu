// Attention of bf16 on tensor cores, for training, prefill and decode alike: 64 rows a block, keys in tiles of 64 that
// arrive while the one before is computed, a softmax that runs along (Milakov & Gimelshein 2018, arXiv 1805.02867;
// Dao 2023, arXiv 2307.08691). Laws: scores never leave the block; row r has the same bits whatever shares its tile;
// keys are walked in tiles counted from the document's first key and merged by kKeysPerSplit.
#include "src/backend/cuda/attention_units.cuh"
#include "src/backend/cuda/launch.cuh"
#include "src/backend/cuda/shared_tile.cuh"

namespace athanor::cuda {
namespace {

constexpr int kRows = 64, kKeys = kKeysOfTile;

/// Padded widths. Where V is too wide for the registers of one warp, two warps share its rows: each takes half of the
/// keys of a score and half of the columns of the output.
template <int kQkWidth, int kVWidth, bool kShared, bool kInPages>
struct Shape {
  static constexpr int kQk = kQkWidth, kV = kVWidth;
  static constexpr bool kValuesInKeys = kShared, kPaged = kInPages;
  static constexpr int kValueColumns = kShared ? kQk : kV;  ///< of the tile that values are read from
  static constexpr int kHalves = kV > 256 ? 2 : 1, kThreads = 128 * kHalves;
  static constexpr int kStage = kKeys * (kQk + (kShared ? 0 : kV));
  static constexpr std::size_t kSharedBytes =
      sizeof(bf16) * (kRows * kQk + 2 * kStage + (kHalves == 2 ? kRows * kKeys : 0)) + sizeof(float) * 4 * kRows;
  static constexpr int kVTiles = kV / kHalves / 8;  ///< tiles of 8 output columns a warp holds
  static constexpr int kSTiles = kKeys / kHalves / 8;
};

/// What a warp knows of its rows, two a lane (of the fragments' rows lane / 4 and 8 below). Apart from Block, so that
/// the compiler keeps both in registers.
template <class S>
struct Rows {
  float acc[S::kVTiles][4];  ///< weighted values
  float top[2], sum[2];      ///< maximum of the scores; sum of their exponentials over this lane's columns
  int lo[2], hi[2];          ///< keys seen

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int n = 0; n < S::kVTiles; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) acc[n][i] = 0;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      top[i] = minus_infinity<float>();
      sum[i] = 0;
    }
  }
};

template <class S>
struct Block {
  const AttendArgs<bf16>& a;
  Unit unit{};
  SharedTile<kRows, S::kQk> q;
  bf16* stages;
  SharedTile<kRows, kKeys> p;
  float* exchanged;  ///< [2, kRows]: of the two warps of a row
  int *lo, *hi;      ///< [kRows]

  int warp_row, half;  ///< first row of the warp; which half of a shared row

  __device__ Block(const AttendArgs<bf16>& args, bf16* memory, int warp)
      : a(args),
        q{memory},
        stages(memory + kRows * S::kQk),
        p{stages + 2 * S::kStage},
        exchanged(reinterpret_cast<float*>(p.data + (S::kHalves == 2 ? kRows * kKeys : 0))),
        lo(reinterpret_cast<int*>(exchanged + 2 * kRows)),
        hi(lo + kRows),
        warp_row(warp % 4 * 16),
        half(warp / 4) {}

  __device__ SharedTile<kKeys, S::kQk> keys(int stage) const { return {stages + stage * S::kStage}; }
  __device__ SharedTile<kKeys, S::kValueColumns> values(int stage) const {
    return {stages + stage * S::kStage + (S::kValuesInKeys ? 0 : kKeys * S::kQk)};
  }

  /// Starts the copies of keys [key, key + kKeys), zeros from `end` on.
  __device__ __forceinline__ void fetch(int key, int end, int stage) const {
    // By value: what these lambdas hold must not drag the accumulators into memory.
    const auto rows = [count = end - key, key, origin = unit.origin, pages = a.pages_SP, page_bits = a.page_bits](
                          const bf16* from, std::int64_t stride) {
      return [=](int row) {
        return row < count ? from + key_row<S::kPaged>(pages, page_bits, origin, key + row) * stride : nullptr;
      };
    };
    const bf16* k = a.k + static_cast<std::int64_t>(unit.g) * a.qk_dim;
    keys(stage).template load<S::kThreads>(rows(k, a.k_stride), a.qk_dim, a.whole_vectors);
    if constexpr (!S::kValuesInKeys) {
      const bf16* v = a.v + unit.g * a.v_head;
      values(stage).template load<S::kThreads>(rows(v, a.v_stride), a.v_dim, a.whole_vectors);
    }
  }

  /// One tile of keys: scores, their weights, and the weighted values onto acc.
  __device__ __forceinline__ void step(Rows<S>& rows, int key, int stage, bool masked, float scale) const {
    const int lane = static_cast<int>(lane_id());
    float s[S::kSTiles][4] = {};
    const int first_key = half * (kKeys / S::kHalves);
#pragma unroll 4
    for (int d = 0; d < S::kQk; d += 16) {
      const FragmentA queries = q.a(warp_row, d);
#pragma unroll
      for (int n = 0; n < S::kSTiles; n += 2)
        mma_pair(s[n], s[n + 1], queries, keys(stage).b_transposed(first_key + n * 8, d));
    }
    if (masked) {
#pragma unroll
      for (int n = 0; n < S::kSTiles; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int at = key + first_key + n * 8 + 2 * (lane % 4) + i % 2;
          if (at < rows.lo[i / 2] || at >= rows.hi[i / 2]) s[n][i] = minus_infinity<float>();
        }
    }
    float highest[2] = {rows.top[0], rows.top[1]};
#pragma unroll
    for (int n = 0; n < S::kSTiles; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) highest[i / 2] = fmaxf(highest[i / 2], s[n][i]);
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
      for (int step = 1; step < 4; step *= 2)
        highest[i] = fmaxf(highest[i], __shfl_xor_sync(0xffffffffU, highest[i], step));
    if constexpr (S::kHalves == 2) {
      if (lane % 4 == 0)
#pragma unroll
        for (int i = 0; i < 2; ++i) exchanged[half * kRows + warp_row + lane / 4 + 8 * i] = highest[i];
      __syncthreads();
#pragma unroll
      for (int i = 0; i < 2; ++i)
        highest[i] = fmaxf(highest[i], exchanged[(1 - half) * kRows + warp_row + lane / 4 + 8 * i]);
    }

    float shift[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float base = highest[i] == minus_infinity<float>() ? 0.0F : highest[i];
      const float fade = exp2_fast((rows.top[i] - base) * scale);
      rows.top[i] = highest[i];
      shift[i] = -(base * scale);
      rows.sum[i] *= fade;
#pragma unroll
      for (int n = 0; n < S::kVTiles; ++n) {
        rows.acc[n][2 * i] *= fade;
        rows.acc[n][2 * i + 1] *= fade;
      }
    }
#pragma unroll
    for (int n = 0; n < S::kSTiles; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        s[n][i] = exp2_fast(fmaf(s[n][i], scale, shift[i / 2]));
        rows.sum[i / 2] += s[n][i];
      }

    if constexpr (S::kHalves == 2) {
#pragma unroll
      for (int n = 0; n < S::kSTiles; ++n)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          bf16* to = p.chunk(warp_row + lane / 4 + 8 * i, first_key / 8 + n) + 2 * (lane % 4);
          *reinterpret_cast<Pair*>(to) = pack_bf16(s[n][2 * i], s[n][2 * i + 1]);
        }
      __syncthreads();
    }
#pragma unroll
    for (int k = 0; k < kKeys; k += 16) {
      FragmentA weights;
      if constexpr (S::kHalves == 2)
        weights = p.a(warp_row, k);
      else
        weights = as_a(s[k / 8], s[k / 8 + 1]);
#pragma unroll
      for (int n = 0; n < S::kVTiles; n += 2)
        mma_pair(rows.acc[n], rows.acc[n + 1], weights, values(stage).b(k, half * (S::kV / S::kHalves) + n * 8));
    }
  }

  /// sum over the columns of all lanes of a row; every lane of the row gets the same bits.
  __device__ __forceinline__ void finish_split(Rows<S>& rows) const {
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
      for (int step = 1; step < 4; step *= 2) rows.sum[i] += __shfl_xor_sync(0xffffffffU, rows.sum[i], step);
    if constexpr (S::kHalves == 2) {
      const int lane = static_cast<int>(lane_id()), row = warp_row + lane / 4;
      __syncthreads();
      if (lane % 4 == 0)
#pragma unroll
        for (int i = 0; i < 2; ++i) exchanged[half * kRows + row + 8 * i] = rows.sum[i];
      __syncthreads();
#pragma unroll
      for (int i = 0; i < 2; ++i) rows.sum[i] = exchanged[row + 8 * i] + exchanged[kRows + row + 8 * i];
      __syncthreads();
    }
  }
};

/// What the splits so far gave: sums in global memory (a block's own place), maxima and weights in registers.
struct Parked {
  float top[2], sum[2];
  bool any;
};

template <class S>
__device__ __forceinline__ void fold_parked(Rows<S>& rows, Parked& parked, float* place, float scale, bool store) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const auto fold = Fold<float>::of<true>(parked.any ? parked.top[i] : minus_infinity<float>(), rows.top[i], scale);
#pragma unroll
    for (int n = 0; n < S::kVTiles; ++n)
#pragma unroll
      for (int j = 2 * i; j < 2 * i + 2; ++j) {
        float& at = place[(n * 4 + j) * S::kThreads + static_cast<int>(threadIdx.x)];
        const float merged = parked.any ? fold.sum(at, rows.acc[n][j]) : rows.acc[n][j];
        if (store)
          at = merged;
        else
          rows.acc[n][j] = merged;
      }
    parked.sum[i] = parked.any ? fold.sum(parked.sum[i], rows.sum[i]) : rows.sum[i];
    parked.top[i] = fold.top;
  }
  parked.any = true;
}

/// Row i of a lane's two to o and lse, or to the partial results of its split. A call a row: a loop over both is not
/// unrolled, and then the accumulators lie in memory.
template <class S>
__device__ __forceinline__ void write_row(const Block<S>& block, const Rows<S>& rows, const Parked& result, int i) {
  const AttendArgs<bf16>& a = block.a;
  const int lane = static_cast<int>(lane_id()), first_column = block.half * (S::kV / S::kHalves) + 2 * (lane % 4);
  const UnitRow row = unit_row(a, block.unit, block.warp_row + lane / 4 + 8 * i);
  if (row.index < 0) return;
  if (a.parallel_splits > 0 && row.hi > kKeysPerSplit) {
    float* to = a.partial + (row.index * a.parallel_splits + block.unit.split) * (a.v_dim + 2);
#pragma unroll
    for (int n = 0; n < S::kVTiles; ++n)
#pragma unroll
      for (int j = 0; j < 2; ++j)
        if (first_column + n * 8 + j < a.v_dim) to[first_column + n * 8 + j] = rows.acc[n][2 * i + j];
    if (lane % 4 == 0 && block.half == 0) {
      to[a.v_dim] = result.top[i];
      to[a.v_dim + 1] = result.sum[i];
    }
    return;
  }
  if (block.unit.split > 0) return;
  const float inverse = result.sum[i] > 0 ? 1.0F / result.sum[i] : 0.0F;
  bf16* to = a.o + row.index * a.v_dim;
#pragma unroll
  for (int n = 0; n < S::kVTiles; ++n) {
    const int column = first_column + n * 8;
    const Pair pair = pack_bf16(rows.acc[n][2 * i] * inverse, rows.acc[n][2 * i + 1] * inverse);
    if (a.v_dim % 2 == 0) {
      if (column < a.v_dim) *reinterpret_cast<Pair*>(to + column) = pair;
    } else {
      if (column < a.v_dim) to[column].bits = static_cast<std::uint16_t>(pair & 0xffffU);
      if (column + 1 < a.v_dim) to[column + 1].bits = static_cast<std::uint16_t>(pair >> 16);
    }
  }
  if (a.lse_TH && lane % 4 == 0 && block.half == 0)
    a.lse_TH[row.index] = fmaf(result.top[i], a.scale, logf(result.sum[i]));
}

template <class S>
__global__ void __launch_bounds__(S::kThreads) attend_kernel(AttendArgs<bf16> a) {
  __shared__ int slot;
  const int thread = static_cast<int>(threadIdx.x), lane = static_cast<int>(lane_id());
  Block<S> block(a, dynamic_shared<bf16>(), thread / 32);
  Rows<S> rows;
  const float scale = a.scale * kLog2E;
  float* place = a.parked + static_cast<std::int64_t>(blockIdx.x) * kRows * S::kV;

  while (next_unit(a, slot, block.unit)) {
    if (thread < kRows) {
      const UnitRow row = unit_row(a, block.unit, thread);
      block.lo[thread] = row.index < 0 ? 0 : row.lo;
      block.hi[thread] = row.index < 0 ? 0 : row.hi;
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      rows.lo[i] = block.lo[block.warp_row + lane / 4 + 8 * i];
      rows.hi[i] = block.hi[block.warp_row + lane / 4 + 8 * i];
    }
    const KeyRange range = range_of_rows<kRows>(block.lo, block.hi);
    int key = range.lo / kKeys * kKeys, end = range.hi;
    if (a.parallel_splits > 0) {
      key = max(key, block.unit.split * kKeysPerSplit);
      end = min(end, (block.unit.split + 1) * kKeysPerSplit);
    }
    block.q.template load<S::kThreads>(
        [&a, unit = block.unit](int r) {
          const std::int64_t row = unit_row(a, unit, r).index;
          return row < 0 ? nullptr : a.q + row * a.qk_dim;
        },
        a.qk_dim, a.whole_vectors);
    if (key < end) block.fetch(key, end, 0);
    copies_commit();

    rows.clear();
    Parked parked{};
    for (int stage = 0; key < end; key += kKeys, stage ^= 1) {
      if (key + kKeys < end) block.fetch(key + kKeys, end, stage ^ 1);
      copies_commit();
      copies_wait<1>();
      __syncthreads();
      block.step(rows, key, stage, key < range.all_lo || key + kKeys > range.all_hi, scale);
      __syncthreads();
      if ((key + kKeys) % kKeysPerSplit == 0 && key + kKeys < end) {
        block.finish_split(rows);
        fold_parked(rows, parked, place, scale, true);
        rows.clear();
      }
    }
    copies_wait<0>();
    block.finish_split(rows);
    fold_parked(rows, parked, place, scale, false);
    write_row(block, rows, parked, 0);
    write_row(block, rows, parked, 1);
  }
}

/// f of the least shape that holds the widths, `none` where there is none.
template <bool kPaged, class Result, class F>
Result with_own_values(int qk_dim, int v_dim, Result none, F&& f) {
  const auto fits = [&](int qk, int v) { return qk_dim <= qk && v_dim <= v; };
  if (fits(64, 64)) return f(Shape<64, 64, false, kPaged>{});
  if (fits(128, 128)) return f(Shape<128, 128, false, kPaged>{});
  if (fits(192, 128)) return f(Shape<192, 128, false, kPaged>{});
  if (fits(256, 256)) return f(Shape<256, 256, false, kPaged>{});
  return none;
}
/// The same where values are the front of the keys, which are of a cache.
template <class Result, class F>
Result with_values_in_keys(int qk_dim, int v_dim, Result none, F&& f) {
  const auto fits = [&](int qk, int v) { return qk_dim <= qk && v_dim <= v; };
  if (fits(64, 64)) return f(Shape<64, 64, true, true>{});
  if (fits(192, 128)) return f(Shape<192, 128, true, true>{});
  if (fits(576, 512)) return f(Shape<576, 512, true, true>{});
  return none;
}

}  // namespace

TileLaunch attend_launch_bf16(int qk_dim, int v_dim, bool values_in_keys) {
  const auto launch = [](auto shape) {
    using S = decltype(shape);
    return TileLaunch{kRows, S::kV, blocks_that_fit(S::kSharedBytes, S::kThreads), S::kSharedBytes};
  };
  if (values_in_keys) return with_values_in_keys(qk_dim, v_dim, TileLaunch{}, launch);
  return with_own_values<true>(qk_dim, v_dim, TileLaunch{}, launch);
}

cudaError_t launch_attend(const AttendArgs<bf16>& args, int blocks, cudaStream_t stream) {
  const auto start = [&](auto shape) {
    using S = decltype(shape);
    return launch(attend_kernel<S>,
                  LaunchShape{dim3(static_cast<unsigned>(blocks)), dim3(S::kThreads), S::kSharedBytes}, stream, args);
  };
  if (args.values_in_keys) return with_values_in_keys(args.qk_dim, args.v_dim, cudaErrorInvalidValue, start);
  if (args.pages_SP) return with_own_values<true>(args.qk_dim, args.v_dim, cudaErrorInvalidValue, start);
  return with_own_values<false>(args.qk_dim, args.v_dim, cudaErrorInvalidValue, start);
}

}  // namespace athanor::cuda
