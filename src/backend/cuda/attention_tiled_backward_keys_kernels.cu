// dk and dv on Hopper: a block owns 128 keys of a key/value head, queries come by.
#include "src/backend/cuda/attention_tiled_backward.cuh"

namespace athanor::cuda {
namespace {

template <class S>
__device__ void bring_for_keys(const TiledAttendBackward& t, const BackwardMemory<S>& memory) {
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
__device__ void sum_for_keys(const TiledAttendBackward& t, const BackwardMemory<S>& memory, int warpgroup) {
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

template <class S>
__global__ void __launch_bounds__(kTiledThreads, 1) keys_kernel(const __grid_constant__ TiledAttendBackward t) {
  const BackwardMemory<S> memory(dynamic_shared_tiles());
  run_pass(
      memory, [&] { bring_for_keys(t, memory); }, [&](int warpgroup) { sum_for_keys(t, memory, warpgroup); });
}

}  // namespace

cudaError_t launch_tiled_attend_backward_keys(const TiledAttendBackward& args, int blocks, cudaStream_t stream) {
  return with_backward_shape(args.args.qk_dim, args.args.v_dim, cudaErrorInvalidValue, [&](auto shape) {
    using S = decltype(shape);
    const LaunchShape grid{dim3(static_cast<unsigned>(blocks)), dim3(kTiledThreads), S::kSharedBytes};
    return launch(keys_kernel<S>, grid, stream, args);
  });
}

}  // namespace athanor::cuda
