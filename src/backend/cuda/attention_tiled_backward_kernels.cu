// Backward of attention of bf16 on Hopper: scores are made again from q, k and lse. Laws and formulas are those of
// attention_backward_kernels.cu: no atomic sums; dk and dv of a tile of keys are summed over the heads of the group and
// the tiles of queries in order, dq over the tiles of keys in order, both counted from the document's first row.
#include "src/backend/cuda/attention_backward_units.cuh"
#include "src/backend/cuda/attention_tiled.cuh"
#include "src/backend/cuda/launch.cuh"

namespace athanor::cuda {
namespace {

constexpr int kTurn = 64;  ///< the rows that come by: queries in the first pass, keys in the second

/// What a query brings: log sum exp for powers of two, delta, and the keys [lo, hi) it sees; nothing where it is none.
struct Query {
  float lse, delta;
  int lo, hi;
};

__device__ inline Query query_of(const AttendBackwardArgs<bf16>& a, int t, int end, int head) {
  if (t >= end) return {0, 0, 0, 0};
  const std::int64_t row = static_cast<std::int64_t>(t) * a.num_heads + head;
  return {a.lse_TH[row] * kLog2E, a.delta_TH[row], a.key_begin_T[t], key_end_of(a, t)};
}

/// Padded widths.
template <int kQkWidth, int kVWidth>
struct Shape {
  static constexpr int kQk = kQkWidth, kV = kVWidth;
  static constexpr bool kWide = kQk > 128;
  static constexpr int kStages = kWide ? 3 : 4;
  static constexpr int kRegistersToBring = kWide ? 24 : cuda::kRegistersToBring,
                       kRegistersToMultiply = kWide ? 240 : cuda::kRegistersToMultiply;
  using OwnQk = TiledMatrix<kOwnRows, kQk>;
  using OwnV = TiledMatrix<kOwnRows, kV>;
  using TurnQk = TiledMatrix<kTurn, kQk>;
  using TurnV = TiledMatrix<kTurn, kV>;
  static constexpr int kOwnBytes = OwnQk::kBytes + OwnV::kBytes, kStageBytes = TurnQk::kBytes + TurnV::kBytes;
  static constexpr int kQueryBytes = kTurn * static_cast<int>(sizeof(Query));
  static constexpr std::size_t kSharedBytes = kOwnBytes + kStages * (kStageBytes + kQueryBytes) + kBytesOfBarriers;
};

template <class S>
struct Memory {
  struct Barriers {
    TileBarrier own_there, own_read, there[S::kStages], read[S::kStages];
  };
  static_assert(sizeof(Barriers) <= kBytesOfBarriers);
  unsigned char* data;
  Barriers& barriers;

  __device__ explicit Memory(unsigned char* memory)
      : data(memory), barriers(*reinterpret_cast<Barriers*>(memory + S::kSharedBytes - kBytesOfBarriers)) {}
  __device__ typename S::OwnQk own_qk() const { return {data}; }
  __device__ typename S::OwnV own_v() const { return {data + S::OwnQk::kBytes}; }
  __device__ typename S::TurnQk turn_qk(int stage) const { return {data + S::kOwnBytes + stage * S::kStageBytes}; }
  __device__ typename S::TurnV turn_v(int stage) const { return {turn_qk(stage).data + S::TurnQk::kBytes}; }
  __device__ Query* queries(int stage) const {
    return reinterpret_cast<Query*>(data + S::kOwnBytes + S::kStages * S::kStageBytes) + stage * kTurn;
  }

  __device__ void start() const {
    if (threadIdx.x == 0) {
      barrier_init(barriers.own_there, 1);
      barrier_init(barriers.own_read, kMultiplyingWarps);
      for (int i = 0; i < S::kStages; ++i) {
        barrier_init(barriers.there[i], 1);
        barrier_init(barriers.read[i], kMultiplyingWarps);
      }
      barrier_init_done();
    }
    __syncthreads();
  }
};

/// The one warp that brings tiles.
template <class S>
class Bringer {
 public:
  __device__ explicit Bringer(const Memory<S>& memory) : memory_(memory) {}
  /// The rows that the block owns, once all have read those before.
  __device__ void own(const CUtensorMap& qk, const CUtensorMap& v, int head, int row) {
    auto& barriers = memory_.barriers;
    barrier_wait(barriers.own_read, parity_);
    parity_ ^= 1U;
    if (lane_id() != 0) return;
    barrier_arrive_expecting(barriers.own_there, S::kOwnBytes);
    memory_.own_qk().copy(qk, head, row, barriers.own_there);
    memory_.own_v().copy(v, head, row, barriers.own_there);
  }
  /// Rows that come by; put(queries) writes what belongs to them, by all lanes.
  template <class Put>
  __device__ void turn(const CUtensorMap& qk, const CUtensorMap& v, int head, int row, Put&& put) {
    auto& barriers = memory_.barriers;
    const int i = stage_.index;
    barrier_wait(barriers.read[i], stage_.parity ^ 1U);
    put(memory_.queries(i));
    __syncwarp();
    if (lane_id() == 0) {
      barrier_arrive_expecting(barriers.there[i], S::kStageBytes);
      memory_.turn_qk(i).copy(qk, head, row, barriers.there[i]);
      memory_.turn_v(i).copy(v, head, row, barriers.there[i]);
    }
    stage_.advance();
  }

 private:
  const Memory<S>& memory_;
  Stage<S::kStages> stage_;
  std::uint32_t parity_ = 1;
};

template <int kSums>
__device__ __forceinline__ void clear(float (&sums)[kSums]) {
#pragma unroll
  for (int i = 0; i < kSums; ++i) sums[i] = 0.0F;
}

/// sums += weights [64 x kTurn] * the columns of a tile that came by.
template <int N, class Turn>
__device__ __forceinline__ void start_sums(float (&sums)[N / 2], const FragmentA* weights, const Turn& turn) {
#pragma unroll
  for (int step = 0; step < kTurn / 16; ++step)
    WarpgroupProduct<N>::template multiply<true>(sums, weights[step], turn.columns(step), true);
}

__device__ inline void give_back(TileBarrier& barrier) {
  if (lane_id() == 0) barrier_arrive(barrier);
}

template <class S>
__device__ void bring_for_keys(const TiledAttendBackward& t, const Memory<S>& memory) {
  const AttendBackwardArgs<bf16>& a = t.args;
  const int group = a.num_heads / a.num_kv_heads, lane = static_cast<int>(lane_id());
  Bringer<S> bringer(memory);
  KeyUnit unit{};
  for (int number = static_cast<int>(blockIdx.x); key_unit<kTurn>(a, number, unit);
       number += static_cast<int>(gridDim.x)) {
    bringer.own(t.k_own, t.v_own, unit.g, unit.key);
    for (int head = unit.g * group; head < (unit.g + 1) * group; ++head)
      for (int first = unit.first_query; first < unit.query_end; first += kTurn)
        bringer.turn(t.q_turn, t.d_o_turn, head, first, [&](Query* queries) {
          for (int i = lane; i < kTurn; i += 32) queries[i] = query_of(a, first + i, unit.query_end, head);
        });
  }
}

/// dk and dv of the warpgroup's 64 keys; queries come by.
template <class S>
__device__ void sum_for_keys(const TiledAttendBackward& t, const Memory<S>& memory, int warpgroup) {
  // Where registers are few, dP is made only when the scores are not needed any more, and exponentials, rounded as dv's
  // product takes them, turn into dS where they lie.
  constexpr bool kRoomy = S::kQk + S::kV <= 128;
  constexpr int kSums = kTurn / 2, kSteps = kTurn / 16;
  const AttendBackwardArgs<bf16>& a = t.args;
  const int group = a.num_heads / a.num_kv_heads, lane = static_cast<int>(lane_id()),
            own = warpgroup * kRowsOfWarpgroup;
  const float scale = a.scale * kLog2E;
  auto& barriers = memory.barriers;
  Stage<S::kStages> stage;
  std::uint32_t parity = 0;
  KeyUnit unit{};
  for (int number = static_cast<int>(blockIdx.x); key_unit<kTurn>(a, number, unit);
       number += static_cast<int>(gridDim.x)) {
    const int first_key = unit.key + own + row_of_sums();
    const int turns = (unit.query_end - unit.first_query + kTurn - 1) / kTurn * group;
    float dk[S::kQk / 2], dv[S::kV / 2], p[kSums], dp[kSums];
    FragmentA weights[kSteps], slopes_aside[kRoomy ? kSteps : 1];
    clear(dk);
    clear(dv);
    barrier_wait(barriers.own_there, parity);
    parity ^= 1U;
    int before = 0;
    for (int turn = 0; turn < turns; ++turn) {
      const int i = stage.index;
      barrier_wait(barriers.there[i], stage.parity);
      products_begin();
      start_scores<S::kQk / 16, kTurn>(p, memory.own_qk(), own, memory.turn_qk(i));
      products_commit();
      if constexpr (kRoomy) {
        start_scores<S::kV / 16, kTurn>(dp, memory.own_v(), own, memory.turn_v(i));
        products_commit();
      }
      products_wait<kRoomy ? 1 : 0>();  // and the sums of the turn before
      if (turn > 0) give_back(barriers.read[before]);
      const Query* queries = memory.queries(i);
#pragma unroll
      for (int n = 0; n < kTurn / 8; ++n)
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          const Query query = queries[8 * n + 2 * (lane % 4) + j];
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            float& weight = p[4 * n + 2 * half + j];
            const int key = first_key + 8 * half;
            weight = key >= query.lo && key < query.hi ? exp2_fast(fmaf(weight, scale, -query.lse)) : 0.0F;
          }
        }
#pragma unroll
      for (int step = 0; step < kSteps; ++step) weights[step] = fragment_of(p, 2 * step);
      products_begin();
      if constexpr (!kRoomy) {
        start_scores<S::kV / 16, kTurn>(dp, memory.own_v(), own, memory.turn_v(i));
        products_commit();
      }
      start_sums<S::kV>(dv, weights, memory.turn_v(i));
      products_commit();
      products_wait<kRoomy ? 1 : 0>();
      FragmentA* const slopes = kRoomy ? slopes_aside : weights;
#pragma unroll
      for (int n = 0; n < kTurn / 8; ++n) {
        const float delta[2] = {queries[8 * n + 2 * (lane % 4)].delta, queries[8 * n + 2 * (lane % 4) + 1].delta};
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int at = 4 * n + 2 * half;
          const Pair pair = weights[n / 2].r[n % 2 * 2 + half];
          const float low = kRoomy ? p[at] : __uint_as_float(pair << 16),
                      high = kRoomy ? p[at + 1] : __uint_as_float(pair & 0xffff0000U);
          slopes[n / 2].r[n % 2 * 2 + half] = pack_bf16(low * (dp[at] - delta[0]), high * (dp[at + 1] - delta[1]));
        }
      }
      products_begin();
      start_sums<S::kQk>(dk, slopes, memory.turn_qk(i));
      products_commit();
      before = i;
      stage.advance();
    }
    products_wait<0>();
    if (turns > 0) give_back(barriers.read[before]);
    give_back(barriers.own_read);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int key = first_key + 8 * half;
      const std::int64_t index = static_cast<std::int64_t>(key) * a.num_kv_heads + unit.g;
      const bool there = key < unit.key_end;
      write_row(dk, half, a.scale, there ? a.dk + index * a.qk_dim : nullptr, a.qk_dim);
      write_row(dv, half, 1.0F, there ? a.dv + index * a.v_dim : nullptr, a.v_dim);
    }
  }
}

/// Keys that come by for a tile of queries: rows [first, end). Ranges rise with the row: the first row's begin and the
/// last row's end bound them all.
struct KeysToCome {
  int first, end;
  __device__ KeysToCome(const AttendBackwardArgs<bf16>& a, const QueryUnit& unit)
      : first(unit.origin + (a.key_begin_T[unit.begin] - unit.origin) / kTurn * kTurn),
        end(key_end_of(a, unit.end - 1)) {}
};

template <class S>
__device__ void bring_for_queries(const TiledAttendBackward& t, const Memory<S>& memory) {
  const AttendBackwardArgs<bf16>& a = t.args;
  const int group = a.num_heads / a.num_kv_heads;
  Bringer<S> bringer(memory);
  QueryUnit unit{};
  for (int number = static_cast<int>(blockIdx.x); query_unit(a.tiles, a.num_heads, number, unit);
       number += static_cast<int>(gridDim.x)) {
    const KeysToCome keys(a, unit);
    bringer.own(t.q_own, t.d_o_own, unit.head, unit.begin);
    for (int key = keys.first; key < keys.end; key += kTurn)
      bringer.turn(t.k_turn, t.v_turn, unit.head / group, key, [](Query*) {});
  }
}

/// dq of the warpgroup's 64 queries; keys come by.
template <class S>
__device__ void sum_for_queries(const TiledAttendBackward& t, const Memory<S>& memory, int warpgroup) {
  constexpr int kSums = kTurn / 2, kSteps = kTurn / 16;
  const AttendBackwardArgs<bf16>& a = t.args;
  const int lane = static_cast<int>(lane_id()), own = warpgroup * kRowsOfWarpgroup;
  const float scale = a.scale * kLog2E;
  auto& barriers = memory.barriers;
  Stage<S::kStages> stage;
  std::uint32_t parity = 0;
  QueryUnit unit{};
  for (int number = static_cast<int>(blockIdx.x); query_unit(a.tiles, a.num_heads, number, unit);
       number += static_cast<int>(gridDim.x)) {
    const KeysToCome keys(a, unit);
    const int first_row = unit.begin + own + row_of_sums();
    const Query query[2] = {query_of(a, first_row, unit.end, unit.head),
                            query_of(a, first_row + 8, unit.end, unit.head)};
    float dq[S::kQk / 2], s[kSums], dp[kSums];
    FragmentA slopes[kSteps];
    clear(dq);
    barrier_wait(barriers.own_there, parity);
    parity ^= 1U;
    int before = 0;
    for (int key = keys.first; key < keys.end; key += kTurn) {
      const int i = stage.index;
      barrier_wait(barriers.there[i], stage.parity);
      products_begin();
      start_scores<S::kQk / 16, kTurn>(s, memory.own_qk(), own, memory.turn_qk(i));
      products_commit();
      start_scores<S::kV / 16, kTurn>(dp, memory.own_v(), own, memory.turn_v(i));
      products_commit();
      products_wait<1>();  // and the sums of the turn before
      if (key > keys.first) give_back(barriers.read[before]);
#pragma unroll
      for (int n = 0; n < kTurn / 8; ++n)
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const Query& row = query[j / 2];
          const int at = key + 8 * n + 2 * (lane % 4) + j % 2;
          float& weight = s[4 * n + j];
          weight = at >= row.lo && at < row.hi ? exp2_fast(fmaf(weight, scale, -row.lse)) : 0.0F;
        }
      products_wait<0>();
#pragma unroll
      for (int n = 0; n < kTurn / 8; ++n)
#pragma unroll
        for (int j = 0; j < 4; ++j) dp[4 * n + j] = s[4 * n + j] * (dp[4 * n + j] - query[j / 2].delta);
#pragma unroll
      for (int step = 0; step < kSteps; ++step) slopes[step] = fragment_of(dp, 2 * step);
      products_begin();
      start_sums<S::kQk>(dq, slopes, memory.turn_qk(i));
      products_commit();
      before = i;
      stage.advance();
    }
    products_wait<0>();
    if (keys.first < keys.end) give_back(barriers.read[before]);
    give_back(barriers.own_read);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first_row + 8 * half;
      const std::int64_t index = static_cast<std::int64_t>(row) * a.num_heads + unit.head;
      write_row(dq, half, a.scale, row < unit.end ? a.dq + index * a.qk_dim : nullptr, a.qk_dim);
    }
  }
}

template <class S, bool kKeys>
__global__ void __launch_bounds__(kTiledThreads, 1) pass_kernel(const __grid_constant__ TiledAttendBackward t) {
  const Memory<S> memory(dynamic_shared_tiles());
  memory.start();
  const int warpgroup = static_cast<int>(threadIdx.x) / kWarpgroup;
  if (warpgroup == 0) {
    release_registers<S::kRegistersToBring>();
    if (threadIdx.x >= 32) return;
    if constexpr (kKeys)
      bring_for_keys(t, memory);
    else
      bring_for_queries(t, memory);
  } else {
    claim_registers<S::kRegistersToMultiply>();
    if constexpr (kKeys)
      sum_for_keys(t, memory, warpgroup - 1);
    else
      sum_for_queries(t, memory, warpgroup - 1);
  }
}

template <class Result, class F>
Result with_shape(int qk_dim, int v_dim, Result none, F&& f) {
  const auto fits = [&](int qk, int v) { return qk_dim <= qk && v_dim <= v; };
  if (fits(64, 64)) return f(Shape<64, 64>{});
  if (fits(128, 128)) return f(Shape<128, 128>{});
  if (fits(192, 128)) return f(Shape<192, 128>{});
  return none;  // two gradients of 256 columns are more than a thread's registers
}

}  // namespace

TiledShape tiled_attend_backward_shape(int qk_dim, int v_dim) {
  return with_shape(qk_dim, v_dim, TiledShape{}, [](auto) { return TiledShape{kOwnRows, kTurn}; });
}

cudaError_t launch_tiled_attend_backward(const TiledAttendBackward& args, int blocks, cudaStream_t stream) {
  if (const cudaError_t status = launch_row_dots(args.args, stream); status != cudaSuccess) return status;
  return with_shape(args.args.qk_dim, args.args.v_dim, cudaErrorInvalidValue, [&](auto shape) {
    using S = decltype(shape);
    const LaunchShape grid{dim3(static_cast<unsigned>(blocks)), dim3(kTiledThreads), S::kSharedBytes};
    const cudaError_t status = launch(pass_kernel<S, true>, grid, stream, args);
    return status == cudaSuccess ? launch(pass_kernel<S, false>, grid, stream, args) : status;
  });
}

}  // namespace athanor::cuda
