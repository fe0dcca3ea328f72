// What the two passes of the backward on Hopper share. Laws and formulas are those of attention_backward_kernels.cu: no
// atomic sums; dk and dv of a tile of keys are summed over the heads of the group and the tiles of queries in order, dq
// over the tiles of keys in order, both counted from the document's first row.
#pragma once

#include "src/backend/cuda/attention_backward_units.cuh"
#include "src/backend/cuda/attention_tiled.cuh"
#include "src/backend/cuda/launch.cuh"

namespace athanor::cuda {

inline constexpr int kTurn = 64;  ///< the rows that come by: queries in the first pass, keys in the second

/// Padded widths.
template <int kQkWidth, int kVWidth>
struct BackwardShape {
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
struct BackwardMemory {
  struct Barriers {
    TileBarrier own_there, own_read, there[S::kStages], read[S::kStages];
  };
  static_assert(sizeof(Barriers) <= kBytesOfBarriers);
  unsigned char* data;
  Barriers& barriers;

  __device__ explicit BackwardMemory(unsigned char* memory)
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
  __device__ explicit Bringer(const BackwardMemory<S>& memory) : memory_(memory) {}
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
  const BackwardMemory<S>& memory_;
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

/// A pass: one warp brings, two warpgroups sum.
template <class S, class Bring, class Sum>
__device__ __forceinline__ void run_pass(const BackwardMemory<S>& memory, Bring&& bring, Sum&& sum) {
  memory.start();
  const int warpgroup = static_cast<int>(threadIdx.x) / kWarpgroup;
  if (warpgroup == 0) {
    release_registers<S::kRegistersToBring>();
    if (threadIdx.x < 32) bring();
  } else {
    claim_registers<S::kRegistersToMultiply>();
    sum(warpgroup - 1);
  }
}

template <class Result, class F>
Result with_backward_shape(int qk_dim, int v_dim, Result none, F&& f) {
  const auto fits = [&](int qk, int v) { return qk_dim <= qk && v_dim <= v; };
  if (fits(64, 64)) return f(BackwardShape<64, 64>{});
  if (fits(128, 128)) return f(BackwardShape<128, 128>{});
  if (fits(192, 128)) return f(BackwardShape<192, 128>{});
  return none;  // two gradients of 256 columns are more than a thread's registers
}

}  // namespace athanor::cuda
