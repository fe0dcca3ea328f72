// Attention of bf16 on Hopper: 128 queries of a head a block, keys in tiles that the copy engine brings, a softmax that
// runs along (Dao 2023, arXiv 2307.08691); the weighted values of one tile are summed while the softmax of the next is
// made (Shah et al. 2024, arXiv 2407.08608). Laws: scores never leave the registers; a row has the same bits whatever
// shares its tile; keys are walked in tiles counted from the document's first key. Bits differ from those of
// attention_kernels.cu, which decoding uses.
#include "src/backend/cuda/attention_tiled.cuh"
#include "src/backend/cuda/attention_units.cuh"
#include "src/backend/cuda/launch.cuh"

namespace athanor::cuda {
namespace {

/// Padded widths.
template <int kQkWidth, int kVWidth>
struct Shape {
  static constexpr int kQk = kQkWidth, kV = kVWidth;
  static constexpr int kKeys = kQk + kV > 320 ? 64 : 128, kStages = 2;
  using Queries = TiledMatrix<kOwnRows, kQk>;
  using Keys = TiledMatrix<kKeys, kQk>;
  using Values = TiledMatrix<kKeys, kV>;
  static constexpr int kStageBytes = Keys::kBytes + Values::kBytes;
  static constexpr std::size_t kSharedBytes = Queries::kBytes + kStages * kStageBytes + kBytesOfBarriers;
};

template <class S>
struct Memory {
  struct Barriers {
    TileBarrier q_there, q_read, k_there[S::kStages], k_read[S::kStages], v_there[S::kStages], v_read[S::kStages];
  };
  static_assert(sizeof(Barriers) <= kBytesOfBarriers);
  unsigned char* data;
  Barriers& barriers;

  __device__ explicit Memory(unsigned char* memory)
      : data(memory), barriers(*reinterpret_cast<Barriers*>(memory + S::kSharedBytes - kBytesOfBarriers)) {}
  __device__ typename S::Queries q() const { return {data}; }
  __device__ typename S::Keys k(int stage) const { return {data + S::Queries::kBytes + stage * S::kStageBytes}; }
  __device__ typename S::Values v(int stage) const { return {k(stage).data + S::Keys::kBytes}; }
};

/// Keys, counted from the unit's origin, that any of the rows [begin, end) sees, and those that all see. Ranges rise
/// with the row.
__device__ inline KeyRange range_of(const AttendArgs<bf16>& a, int begin, int end, int origin) {
  const auto key_end = [&](int t) { return (a.key_end_T ? a.key_end_T[t] : t + 1) - origin; };
  return {a.key_begin_T[begin] - origin, key_end(end - 1), a.key_begin_T[end - 1] - origin, key_end(begin)};
}

template <class S>
__device__ void bring(const TiledAttend& t, const Memory<S>& memory) {
  const AttendArgs<bf16>& a = t.args;
  const int group = a.num_heads / a.num_kv_heads;
  auto& barriers = memory.barriers;
  Stage<S::kStages> stage;
  std::uint32_t parity = 1;
  QueryUnit unit{};
  for (int number = static_cast<int>(blockIdx.x); query_unit(a.tiles, a.num_heads, number, unit);
       number += static_cast<int>(gridDim.x)) {
    barrier_wait(barriers.q_read, parity);
    parity ^= 1U;
    barrier_arrive_expecting(barriers.q_there, S::Queries::kBytes);
    memory.q().copy(t.q, unit.head, unit.begin, barriers.q_there);
    const KeyRange range = range_of(a, unit.begin, unit.end, unit.origin);
    for (int key = range.lo / S::kKeys * S::kKeys; key < range.hi; key += S::kKeys) {
      const int i = stage.index, head = unit.head / group, row = unit.origin + key;
      barrier_wait(barriers.k_read[i], stage.parity ^ 1U);
      barrier_arrive_expecting(barriers.k_there[i], S::Keys::kBytes);
      memory.k(i).copy(t.k, head, row, barriers.k_there[i]);
      barrier_wait(barriers.v_read[i], stage.parity ^ 1U);
      barrier_arrive_expecting(barriers.v_there[i], S::Values::kBytes);
      memory.v(i).copy(t.v, head, row, barriers.v_there[i]);
      stage.advance();
    }
  }
}

/// The running softmax of the thread's two rows.
template <class S>
struct Softmax {
  float top[2] = {minus_infinity<float>(), minus_infinity<float>()};  ///< maximum of the scores
  float sum[2] = {0, 0};                                              ///< of the exponentials in this thread's columns

  /// Scores to their exponentials. @param fade  what sums so far are to be multiplied by.
  __device__ __forceinline__ void weigh(float (&s)[S::kKeys / 2], float scale, float (&fade)[2]) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float highest = top[i];
#pragma unroll
      for (int n = 0; n < S::kKeys / 8; ++n) highest = fmaxf(highest, fmaxf(s[4 * n + 2 * i], s[4 * n + 2 * i + 1]));
#pragma unroll
      for (int step = 1; step < 4; step *= 2) highest = fmaxf(highest, __shfl_xor_sync(0xffffffffU, highest, step));
      const float base = highest == minus_infinity<float>() ? 0.0F : highest;
      fade[i] = exp2_fast((top[i] - base) * scale);
      top[i] = highest;
      sum[i] *= fade[i];
#pragma unroll
      for (int n = 0; n < S::kKeys / 8; ++n)
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          float& weight = s[4 * n + 2 * i + j];
          weight = exp2_fast(fmaf(weight, scale, -(base * scale)));
          sum[i] += weight;
        }
    }
  }
};

template <class S>
__device__ void attend(const TiledAttend& t, const Memory<S>& memory, int warpgroup) {
  const AttendArgs<bf16>& a = t.args;
  using Scores = WarpgroupProduct<S::kKeys>;
  using Output = WarpgroupProduct<S::kV>;
  constexpr int kQkSteps = S::kQk / 16, kKeySteps = S::kKeys / 16;
  const int lane = static_cast<int>(lane_id()), own = warpgroup * kRowsOfWarpgroup;
  const float scale = a.scale * kLog2E;
  auto& barriers = memory.barriers;
  const auto give_back = [&](TileBarrier& barrier) {
    if (lane == 0) barrier_arrive(barrier);
  };
  Stage<S::kStages> stage;
  std::uint32_t parity = 0;
  QueryUnit unit{};
  for (int number = static_cast<int>(blockIdx.x); query_unit(a.tiles, a.num_heads, number, unit);
       number += static_cast<int>(gridDim.x)) {
    const KeyRange range = range_of(a, unit.begin, unit.end, unit.origin);
    const int first_row = unit.begin + own + row_of_sums();
    int lo[2], hi[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = min(first_row + 8 * i, unit.end - 1);  // rows past the end are not written
      lo[i] = a.key_begin_T[row] - unit.origin;
      hi[i] = (a.key_end_T ? a.key_end_T[row] : row + 1) - unit.origin;
    }
    float s[Scores::kSums], o[Output::kSums];
#pragma unroll
    for (int i = 0; i < Output::kSums; ++i) o[i] = 0.0F;
    FragmentA weights[kKeySteps];
    Softmax<S> softmax;

    const auto mask = [&](int key) {
      if (key >= range.all_lo && key + S::kKeys <= range.all_hi) return;
#pragma unroll
      for (int n = 0; n < S::kKeys / 8; ++n)
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const int at = key + 8 * n + 2 * (lane % 4) + j % 2;
          if (at < lo[j / 2] || at >= hi[j / 2]) s[4 * n + j] = minus_infinity<float>();
        }
    };
    const auto start_values = [&](int i) {
      products_begin();
#pragma unroll
      for (int step = 0; step < kKeySteps; ++step)
        Output::template multiply<true>(o, weights[step], memory.v(i).columns(step), true);
      products_commit();
    };
    const auto keep_weights = [&] {
#pragma unroll
      for (int step = 0; step < kKeySteps; ++step) weights[step] = fragment_of(s, 2 * step);
    };

    barrier_wait(barriers.q_there, parity);
    parity ^= 1U;
    int key = range.lo / S::kKeys * S::kKeys;
    if (key < range.hi) {
      float fade[2];
      int before = stage.index;  // the stage whose values are still to be summed
      std::uint32_t parity_before = stage.parity;
      barrier_wait(barriers.k_there[before], parity_before);
      products_begin();
      start_scores<kQkSteps, S::kKeys>(s, memory.q(), own, memory.k(before));
      products_commit();
      products_wait<0>();
      give_back(barriers.k_read[before]);
      mask(key);
      softmax.weigh(s, scale, fade);
      keep_weights();
      stage.advance();
      for (key += S::kKeys; key < range.hi; key += S::kKeys) {
        const int i = stage.index;
        barrier_wait(barriers.k_there[i], stage.parity);
        products_begin();
        start_scores<kQkSteps, S::kKeys>(s, memory.q(), own, memory.k(i));
        products_commit();
        barrier_wait(barriers.v_there[before], parity_before);
        start_values(before);
        products_wait<1>();
        give_back(barriers.k_read[i]);
        mask(key);
        softmax.weigh(s, scale, fade);
        products_wait<0>();
        give_back(barriers.v_read[before]);
#pragma unroll
        for (int n = 0; n < S::kV / 8; ++n)
#pragma unroll
          for (int j = 0; j < 4; ++j) o[4 * n + j] *= fade[j / 2];
        keep_weights();
        before = i;
        parity_before = stage.parity;
        stage.advance();
      }
      barrier_wait(barriers.v_there[before], parity_before);
      start_values(before);
      products_wait<0>();
      give_back(barriers.v_read[before]);
    }
    give_back(barriers.q_read);

#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float sum = softmax.sum[i];
#pragma unroll
      for (int step = 1; step < 4; step *= 2) sum += __shfl_xor_sync(0xffffffffU, sum, step);
      const int row = first_row + 8 * i;
      const std::int64_t index = static_cast<std::int64_t>(row) * a.num_heads + unit.head;
      write_row(o, i, sum > 0 ? 1.0F / sum : 0.0F, row < unit.end ? a.o + index * a.v_dim : nullptr, a.v_dim);
      if (a.lse_TH && row < unit.end && lane % 4 == 0) a.lse_TH[index] = fmaf(softmax.top[i], a.scale, logf(sum));
    }
  }
}

template <class S>
__global__ void __launch_bounds__(kTiledThreads, 1) attend_kernel(const __grid_constant__ TiledAttend t) {
  const Memory<S> memory(dynamic_shared_tiles());
  if (threadIdx.x == 0) {
    auto& barriers = memory.barriers;
    barrier_init(barriers.q_there, 1);
    barrier_init(barriers.q_read, kMultiplyingWarps);
    for (int i = 0; i < S::kStages; ++i) {
      barrier_init(barriers.k_there[i], 1);
      barrier_init(barriers.v_there[i], 1);
      barrier_init(barriers.k_read[i], kMultiplyingWarps);
      barrier_init(barriers.v_read[i], kMultiplyingWarps);
    }
    barrier_init_done();
  }
  __syncthreads();
  const int warpgroup = static_cast<int>(threadIdx.x) / kWarpgroup;
  if (warpgroup == 0) {
    release_registers<kRegistersToBring>();
    if (threadIdx.x == 0) bring<S>(t, memory);
  } else {
    claim_registers<kRegistersToMultiply>();
    attend<S>(t, memory, warpgroup - 1);
  }
}

template <class Result, class F>
Result with_shape(int qk_dim, int v_dim, Result none, F&& f) {
  const auto fits = [&](int qk, int v) { return qk_dim <= qk && v_dim <= v; };
  if (fits(64, 64)) return f(Shape<64, 64>{});
  if (fits(128, 128)) return f(Shape<128, 128>{});
  if (fits(192, 128)) return f(Shape<192, 128>{});
  if (fits(256, 256)) return f(Shape<256, 256>{});
  return none;
}

}  // namespace

TiledShape tiled_attend_shape(int qk_dim, int v_dim) {
  return with_shape(qk_dim, v_dim, TiledShape{}, [](auto shape) {
    using S = decltype(shape);
    return TiledShape{kOwnRows, S::kKeys};
  });
}

cudaError_t launch_tiled_attend(const TiledAttend& args, int blocks, cudaStream_t stream) {
  return with_shape(args.args.qk_dim, args.args.v_dim, cudaErrorInvalidValue, [&](auto shape) {
    using S = decltype(shape);
    return launch(attend_kernel<S>,
                  LaunchShape{dim3(static_cast<unsigned>(blocks)), dim3(kTiledThreads), S::kSharedBytes}, stream, args);
  });
}

}  // namespace athanor::cuda
