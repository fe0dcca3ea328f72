// Backward of attention in bf16 on tensor cores: scores are made again from q, k and lse. Laws: no atomic sums; dk and
// dv of a tile of keys are summed over the heads of the group and the tiles of queries in order, dq over the tiles of
// keys in order; both are counted from the document's first row, so a document has the same bits alone and among
// others. Formulas: Dao 2023, arXiv 2307.08691, algorithm 2: P = exp(scale q k - lse), dV = P^T dO, dS = P * (dO V^T -
// delta), dQ = scale dS K, dK = scale dS^T Q.
#include "src/backend/cuda/attention_backward_units.cuh"
#include "src/backend/cuda/shared_tile.cuh"

namespace athanor::cuda {
namespace {

constexpr int kRows = 64;  ///< the rows a block owns: keys in the first pass, queries in the second
constexpr int kTurn = 32;  ///< the rows that come by: queries, keys

/// Padded widths. Where both gradients are too wide for one warp's registers, two warps share rows and take half of the
/// columns each (both make all scores).
template <int kQkWidth, int kVWidth>
struct Shape {
  static constexpr int kQk = kQkWidth, kV = kVWidth;
  static constexpr int kHalves = kQk + kV > 320 ? 2 : 1, kThreads = 128 * kHalves;
  static constexpr int kStage = kTurn * (kQk + kV);
  static constexpr std::size_t kSharedBytes = sizeof(bf16) * (kRows * (kQk + kV) + 2 * kStage) +
                                              16 * 2 * kTurn;  // the last: a Query for each row that comes by
};

template <class S>
struct Memory {
  SharedTile<kRows, S::kQk> own_qk;
  SharedTile<kRows, S::kV> own_v;
  bf16* stages;
  Query* queries;

  __device__ explicit Memory(bf16* memory)
      : own_qk{memory},
        own_v{memory + kRows * S::kQk},
        stages(memory + kRows * (S::kQk + S::kV)),
        queries(reinterpret_cast<Query*>(stages + 2 * S::kStage)) {}
  __device__ SharedTile<kTurn, S::kQk> turn_qk(int stage) const { return {stages + stage * S::kStage}; }
  __device__ SharedTile<kTurn, S::kV> turn_v(int stage) const { return {stages + stage * S::kStage + kTurn * S::kQk}; }
};

/// s[own row 16 x kTurn rows] of a warp = own * turn^T.
template <class Own, class Turn, int kTiles>
__device__ void scores(float (&s)[kTiles][4], const Own& own, int row, const Turn& turn, int width) {
#pragma unroll
  for (int n = 0; n < kTiles; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i) s[n][i] = 0;
#pragma unroll 2
  for (int d = 0; d < width; d += 16) {
    const FragmentA rows = own.a(row, d);
#pragma unroll
    for (int n = 0; n < kTiles; n += 2) mma_pair(s[n], s[n + 1], rows, turn.b_transposed(n * 8, d));
  }
}

/// gradient[16 x columns of this warp] += weights[16 x kTurn] * turn.
template <class Turn, int kTiles, int kColumnTiles>
__device__ void accumulate(float (&gradient)[kColumnTiles][4], const float (&weights)[kTiles][4], const Turn& turn,
                           int first_column) {
#pragma unroll
  for (int k = 0; k < kTiles; k += 2) {
    const FragmentA rows = as_a(weights[k], weights[k + 1]);
#pragma unroll
    for (int n = 0; n < kColumnTiles; n += 2)
      mma_pair(gradient[n], gradient[n + 1], rows, turn.b(k * 8, first_column + n * 8));
  }
}

template <int kColumnTiles>
__device__ void clear(float (&gradient)[kColumnTiles][4]) {
#pragma unroll
  for (int n = 0; n < kColumnTiles; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i) gradient[n][i] = 0;
}

/// Rows of a gradient, times factor; row_of(row) is where one begins, null where it is not to be written.
template <int kColumnTiles, class RowOf>
__device__ void write(const float (&gradient)[kColumnTiles][4], int first_row, int first_column, int columns,
                      float factor, RowOf&& row_of) {
  const int lane = static_cast<int>(lane_id());
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    bf16* to = row_of(first_row + lane / 4 + 8 * i);
    if (!to) continue;
#pragma unroll
    for (int n = 0; n < kColumnTiles; ++n) {
      const int column = first_column + n * 8 + 2 * (lane % 4);
      const Pair pair = pack_bf16(gradient[n][2 * i] * factor, gradient[n][2 * i + 1] * factor);
      if (columns % 2 == 0) {
        if (column < columns) *reinterpret_cast<Pair*>(to + column) = pair;
      } else {
        if (column < columns) to[column].bits = static_cast<std::uint16_t>(pair & 0xffffU);
        if (column + 1 < columns) to[column + 1].bits = static_cast<std::uint16_t>(pair >> 16);
      }
    }
  }
}

/// dk and dv of a tile of keys: a warp owns 16 keys, queries come by in tiles of kTurn.
template <class S>
__global__ void __launch_bounds__(S::kThreads) keys_kernel(AttendBackwardArgs<bf16> a) {
  constexpr int kTiles = kTurn / 8;
  __shared__ int slot;
  const Memory<S> memory(dynamic_shared<bf16>());
  const int thread = static_cast<int>(threadIdx.x), lane = static_cast<int>(lane_id()), warp = thread / 32;
  const int warp_row = warp % 4 * 16, half = warp / 4;
  const int group = a.num_heads / a.num_kv_heads;
  const float scale = a.scale * kLog2E;

  KeyUnit unit{};
  while (next_key_unit<kTurn>(a, slot, unit)) {
    const auto own = [&](const bf16* from, int width) {
      return [=, key = unit.key, end = unit.key_end, g = unit.g, heads = a.num_kv_heads](int row) {
        return key + row < end ? from + ((static_cast<std::int64_t>(key) + row) * heads + g) * width : nullptr;
      };
    };
    const int tiles = (unit.query_end - unit.first_query + kTurn - 1) / kTurn, turns = tiles * group;
    const auto fetch = [&](int turn, int stage) {
      const int head = unit.g * group + turn / tiles, first = unit.first_query + turn % tiles * kTurn;
      const auto rows = [&](const bf16* from, int width) {
        return [=, end = unit.query_end, heads = a.num_heads](int row) {
          return first + row < end ? from + ((static_cast<std::int64_t>(first) + row) * heads + head) * width : nullptr;
        };
      };
      memory.turn_qk(stage).template load<S::kThreads>(rows(a.q, a.qk_dim), a.qk_dim, a.whole_vectors);
      memory.turn_v(stage).template load<S::kThreads>(rows(a.d_o, a.v_dim), a.v_dim, a.whole_vectors);
      if (thread < kTurn) memory.queries[stage * kTurn + thread] = query_of(a, first + thread, unit.query_end, head);
    };
    memory.own_qk.template load<S::kThreads>(own(a.k, a.qk_dim), a.qk_dim, a.whole_vectors);
    memory.own_v.template load<S::kThreads>(own(a.v, a.v_dim), a.v_dim, a.whole_vectors);
    if (turns > 0) fetch(0, 0);
    copies_commit();

    float dk[S::kQk / S::kHalves / 8][4], dv[S::kV / S::kHalves / 8][4];
    clear(dk);
    clear(dv);
    for (int turn = 0; turn < turns; ++turn) {
      const int stage = turn % 2;
      if (turn + 1 < turns) fetch(turn + 1, stage ^ 1);
      copies_commit();
      copies_wait<1>();
      __syncthreads();
      float p[kTiles][4], ds[kTiles][4];
      scores(p, memory.own_qk, warp_row, memory.turn_qk(stage), S::kQk);
      scores(ds, memory.own_v, warp_row, memory.turn_v(stage), S::kV);
#pragma unroll
      for (int n = 0; n < kTiles; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const Query query = memory.queries[stage * kTurn + n * 8 + 2 * (lane % 4) + i % 2];
          const int key = unit.key + warp_row + lane / 4 + i / 2 * 8;
          const bool sees = key >= query.lo && key < query.hi;
          p[n][i] = sees ? exp2_fast(fmaf(p[n][i], scale, -query.lse)) : 0.0F;
          ds[n][i] = sees ? p[n][i] * (ds[n][i] - query.delta) : 0.0F;
        }
      accumulate(dv, p, memory.turn_v(stage), half * (S::kV / S::kHalves));
      accumulate(dk, ds, memory.turn_qk(stage), half * (S::kQk / S::kHalves));
      __syncthreads();
    }
    copies_wait<0>();
    const auto row_of = [&](bf16* to, int width) {
      return [=, key = unit.key, end = unit.key_end, g = unit.g, heads = a.num_kv_heads](int row) {
        return key + row < end ? to + ((static_cast<std::int64_t>(key) + row) * heads + g) * width : nullptr;
      };
    };
    write(dk, warp_row, half * (S::kQk / S::kHalves), a.qk_dim, a.scale, row_of(a.dk, a.qk_dim));
    write(dv, warp_row, half * (S::kV / S::kHalves), a.v_dim, 1.0F, row_of(a.dv, a.v_dim));
  }
}

/// dq of a tile of queries: a warp owns 16 queries, keys come by in tiles of kTurn.
template <class S>
__global__ void __launch_bounds__(S::kThreads) queries_kernel(AttendBackwardArgs<bf16> a) {
  constexpr int kTiles = kTurn / 8;
  __shared__ int slot;
  const Memory<S> memory(dynamic_shared<bf16>());
  const int thread = static_cast<int>(threadIdx.x), lane = static_cast<int>(lane_id()), warp = thread / 32;
  const int warp_row = warp % 4 * 16, half = warp / 4;
  const int group = a.num_heads / a.num_kv_heads;
  const float scale = a.scale * kLog2E;

  QueryUnit unit{};
  while (next_query_unit(a, slot, unit)) {
    const int last = unit.end - 1, g = unit.head / group;
    // Ranges rise with the row: the first row's begin and the last row's end bound them all.
    const int first_key = unit.origin + (a.key_begin_T[unit.begin] - unit.origin) / kTurn * kTurn;
    const int end_key = key_end_of(a, last), turns = (end_key - first_key + kTurn - 1) / kTurn;
    const auto own = [&](auto* from, int width) {
      return [=, begin = unit.begin, end = unit.end, head = unit.head, heads = a.num_heads](int row) {
        return begin + row < end ? from + ((static_cast<std::int64_t>(begin) + row) * heads + head) * width : nullptr;
      };
    };
    const auto fetch = [&](int turn, int stage) {
      const int first = first_key + turn * kTurn;
      const auto rows = [&](const bf16* from, int width) {
        return [=, heads = a.num_kv_heads](int row) {
          return first + row < end_key ? from + ((static_cast<std::int64_t>(first) + row) * heads + g) * width
                                       : nullptr;
        };
      };
      memory.turn_qk(stage).template load<S::kThreads>(rows(a.k, a.qk_dim), a.qk_dim, a.whole_vectors);
      memory.turn_v(stage).template load<S::kThreads>(rows(a.v, a.v_dim), a.v_dim, a.whole_vectors);
    };
    memory.own_qk.template load<S::kThreads>(own(a.q, a.qk_dim), a.qk_dim, a.whole_vectors);
    memory.own_v.template load<S::kThreads>(own(a.d_o, a.v_dim), a.v_dim, a.whole_vectors);
    fetch(0, 0);
    copies_commit();
    Query query[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) query[i] = query_of(a, unit.begin + warp_row + lane / 4 + 8 * i, unit.end, unit.head);

    float dq[S::kQk / S::kHalves / 8][4];
    clear(dq);
    for (int turn = 0; turn < turns; ++turn) {
      const int stage = turn % 2;
      if (turn + 1 < turns) fetch(turn + 1, stage ^ 1);
      copies_commit();
      copies_wait<1>();
      __syncthreads();
      float p[kTiles][4], ds[kTiles][4];
      scores(p, memory.own_qk, warp_row, memory.turn_qk(stage), S::kQk);
      scores(ds, memory.own_v, warp_row, memory.turn_v(stage), S::kV);
#pragma unroll
      for (int n = 0; n < kTiles; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int key = first_key + turn * kTurn + n * 8 + 2 * (lane % 4) + i % 2;
          const Query& row = query[i / 2];
          const bool sees = key >= row.lo && key < row.hi;
          ds[n][i] = sees ? exp2_fast(fmaf(p[n][i], scale, -row.lse)) * (ds[n][i] - row.delta) : 0.0F;
        }
      accumulate(dq, ds, memory.turn_qk(stage), half * (S::kQk / S::kHalves));
      __syncthreads();
    }
    copies_wait<0>();
    write(dq, warp_row, half * (S::kQk / S::kHalves), a.qk_dim, a.scale, own(a.dq, a.qk_dim));
  }
}

/// f of the least shape that holds the widths, `none` where there is none.
template <class Result, class F>
Result with_shape(int qk_dim, int v_dim, Result none, F&& f) {
  const auto fits = [&](int qk, int v) { return qk_dim <= qk && v_dim <= v; };
  if (fits(64, 64)) return f(Shape<64, 64>{});
  if (fits(128, 128)) return f(Shape<128, 128>{});
  if (fits(192, 128)) return f(Shape<192, 128>{});
  if (fits(256, 256)) return f(Shape<256, 256>{});
  return none;
}

template <class S>
BackwardLaunch launch_of() {
  const TileLaunch launch{kRows, 0, blocks_that_fit(S::kSharedBytes, S::kThreads), S::kSharedBytes};
  return {launch, launch};
}

}  // namespace

BackwardLaunch attend_backward_launch_bf16(int qk_dim, int v_dim) {
  return with_shape(qk_dim, v_dim, BackwardLaunch{}, [](auto shape) { return launch_of<decltype(shape)>(); });
}

cudaError_t launch_attend_backward(const AttendBackwardArgs<bf16>& args, int processors, cudaStream_t stream) {
  return with_shape(args.qk_dim, args.v_dim, cudaErrorInvalidValue, [&](auto shape) {
    using S = decltype(shape);
    return launch_passes(args, processors, launch_of<S>(), S::kThreads, keys_kernel<S>, queries_kernel<S>, stream);
  });
}

}  // namespace athanor::cuda
