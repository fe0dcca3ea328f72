// The backward of attention on Hopper, and its pass for dq: a block owns 128 queries of a head, keys come by.
#include "src/backend/cuda/attention_tiled_backward.cuh"

namespace athanor::cuda {
namespace {

/// Keys that come by for a tile of queries: rows [first, end). Ranges rise with the row: the first row's begin and the
/// last row's end bound them all.
struct KeysToCome {
  int first, end;
  __device__ KeysToCome(const AttendBackwardArgs<bf16>& a, const QueryUnit& unit)
      : first(unit.origin + (a.key_begin_T[unit.begin] - unit.origin) / kTurn * kTurn),
        end(key_end_of(a, unit.end - 1)) {}
};

template <class S>
__device__ void bring_for_queries(const TiledAttendBackward& t, const BackwardMemory<S>& memory) {
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
__device__ void sum_for_queries(const TiledAttendBackward& t, const BackwardMemory<S>& memory, int warpgroup) {
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

template <class S>
__global__ void __launch_bounds__(kTiledThreads, 1) queries_kernel(const __grid_constant__ TiledAttendBackward t) {
  const BackwardMemory<S> memory(dynamic_shared_tiles());
  run_pass(
      memory, [&] { bring_for_queries(t, memory); }, [&](int warpgroup) { sum_for_queries(t, memory, warpgroup); });
}

}  // namespace

TiledShape tiled_attend_backward_shape(int qk_dim, int v_dim) {
  return with_backward_shape(qk_dim, v_dim, TiledShape{}, [](auto) { return TiledShape{kOwnRows, kTurn}; });
}

cudaError_t launch_tiled_attend_backward(const TiledAttendBackward& args, int blocks, cudaStream_t stream) {
  if (const cudaError_t status = launch_row_dots(args.args, stream); status != cudaSuccess) return status;
  if (const cudaError_t status = launch_tiled_attend_backward_keys(args, blocks, stream); status != cudaSuccess)
    return status;
  return with_backward_shape(args.args.qk_dim, args.args.v_dim, cudaErrorInvalidValue, [&](auto shape) {
    using S = decltype(shape);
    const LaunchShape grid{dim3(static_cast<unsigned>(blocks)), dim3(kTiledThreads), S::kSharedBytes};
    return launch(queries_kernel<S>, grid, stream, args);
  });
}

}  // namespace athanor::cuda
