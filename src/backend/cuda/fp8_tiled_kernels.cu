// Products of E4M3 on Hopper: tiles of 128 x 128 in steps of 128 along the depth, which one warp asks the copy engine
// for while others bring the scales of the steps. Law: a step's sum of the tensor cores is multiplied by both scales
// and added to a sum in f32 registers (DeepSeek-V3 report, section 3.3.2: Hopper keeps about 14 bits inside), steps in
// order.
#include "src/backend/cuda/fp8_kernels.cuh"
#include "src/backend/cuda/grouped_tiled.cuh"
#include "src/backend/cuda/launch.cuh"

namespace athanor::cuda {
namespace {

constexpr int kEdge = kTiledRows, kDepth = kFp8Tile, kStages = 6;
constexpr int kBytesOfOperand = kEdge * kTileRowBytes, kStageBytes = 2 * kBytesOfOperand;
constexpr int kScaleBytes = 2 * kEdge * static_cast<int>(sizeof(float));  ///< of the rows, of the columns
constexpr int kBarriersBytes = 1024;
constexpr std::size_t kSharedBytes = kStages * (kStageBytes + kScaleBytes) + kBarriersBytes;
constexpr int kScaleWarps = 3;
constexpr int kRegistersOfScales = 88, kRegistersOfSums = 208;  ///< of a thread; scales are loaded many at once
static_assert(kDepth == kTileRowBytes && kSharedBytes % 1024 == 0);

struct Memory {
  struct Barriers {
    TileBarrier there[kStages], read[kStages];
  };
  unsigned char* data;
  __device__ Barriers& barriers() const {
    return *reinterpret_cast<Barriers*>(data + kStages * (kStageBytes + kScaleBytes));
  }
  __device__ unsigned char* a(int stage) const { return data + stage * kStageBytes; }
  __device__ unsigned char* b(int stage) const { return a(stage) + kBytesOfOperand; }
  __device__ float* row_scales(int stage) const {
    return reinterpret_cast<float*>(data + kStages * kStageBytes + stage * kScaleBytes);
  }
  __device__ float* column_scales(int stage) const { return row_scales(stage) + kEdge; }
};

template <class Out>
using Tile = ProductTile<std::uint8_t, Out>;
template <class Out>
using Walk = TileWalk<std::uint8_t, Out, kEdge>;

__device__ inline int steps_of(int depth) { return (depth + kDepth - 1) / kDepth; }

/// One thread asks for the bytes of every step.
template <class Out>
__device__ void bring_bytes(const TiledFp8Product& q, const Memory& memory) {
  const GroupedProduct& p = q.tiled.product;
  const bool by_rows = p.by == GroupBy::rows, by_places = p.by == GroupBy::places;
  Walk<Out> walk(p);
  Tile<Out> tile{};
  Stage<kStages> stage;
  while (walk.next(tile)) {
    const int row = tile.first_row + (by_rows ? tile.begin : 0), first_depth = by_places ? tile.begin : 0;
    const int group_of_a = by_rows || by_places ? 0 : tile.group, group_of_b = by_places ? 0 : tile.group;
    for (int step = 0; step < steps_of(tile.depth); ++step) {
      const int i = stage.index, depth = first_depth + step * kDepth;
      TileBarrier& there = memory.barriers().there[i];
      barrier_wait(memory.barriers().read[i], stage.parity ^ 1U);
      barrier_arrive_expecting(there, kStageBytes);
      copy_tile(memory.a(i), q.tiled.a, depth, row, group_of_a, there);
      copy_tile(memory.b(i), q.tiled.b, depth, tile.first_column, group_of_b, there);
      stage.advance();
    }
  }
}

/// Scales [first, first + kEdge) of a step; 0 from `end` on.
__device__ inline void bring_scales(float* to, const Fp8Scales& scales, int first, int end, int step) {
#pragma unroll
  for (int i = 0; i < kEdge; i += 32) {
    const int at = first + i + static_cast<int>(lane_id());
    to[i + static_cast<int>(lane_id())] =
        at < end ? scales.data[step * scales.by_tile + (at >> scales.shift) * scales.by_row] : 0.0F;
  }
}

/// One of kScaleWarps warps, which take turns by steps: each waits for its loads while the others start theirs.
template <class Out>
__device__ void bring_scales_of_turn(const TiledFp8Product& q, const Memory& memory, int turn) {
  const GroupedProduct& p = q.tiled.product;
  Walk<Out> walk(p);
  Tile<Out> tile{};
  Stage<kStages> stage;
  int next = 0;
  while (walk.next(tile)) {
    Fp8Scales a_scales = q.a_scales, b_scales = q.b_scales;
    if (p.by == GroupBy::rows) {
      a_scales.data += tile.begin * a_scales.by_row;
      b_scales.data += tile.group * b_scales.by_group;
    } else if (p.by == GroupBy::places) {
      a_scales.data += tile.begin / kPlaces * a_scales.by_tile;
      b_scales.data += tile.begin / kPlaces * b_scales.by_tile;
    }
    for (int step = 0; step < steps_of(tile.depth); ++step) {
      if (next == turn) {
        const int i = stage.index;
        barrier_wait(memory.barriers().read[i], stage.parity ^ 1U);
        bring_scales(memory.row_scales(i), a_scales, tile.first_row, tile.rows, step);
        bring_scales(memory.column_scales(i), b_scales, tile.first_column, tile.columns, step);
        __syncwarp();
        if (lane_id() == 0) barrier_arrive(memory.barriers().there[i]);
      }
      next = next + 1 == kScaleWarps ? 0 : next + 1;
      stage.advance();
    }
  }
}

/// kOneScale: all columns of a tile have one (weights by blocks of 128 x 128).
template <class Out, bool kOneScale>
__device__ void multiply(const GroupedProduct& p, const Memory& memory, int warpgroup) {
  using Product = WarpgroupProduct<kEdge>;
  const int lane = static_cast<int>(lane_id()), own_row = warpgroup * kRowsOfWarpgroup + row_of_sums();
  Walk<Out> walk(p);
  Tile<Out> tile{};
  Stage<kStages> stage;
  while (walk.next(tile)) {
    float sums[Product::kSums], c[Product::kSums];
#pragma unroll
    for (int i = 0; i < Product::kSums; ++i) sums[i] = 0.0F;
    for (int step = 0; step < steps_of(tile.depth); ++step) {
      const int at = stage.index;
      barrier_wait(memory.barriers().there[at], stage.parity);
      const Operand rows = Operand::by_edge(memory.a(at) + warpgroup * kRowsOfWarpgroup * kTileRowBytes);
      const Operand columns = Operand::by_edge(memory.b(at));
      products_begin();
#pragma unroll
      for (int k = 0; k < kTileRowBytes / kDepthStepByEdge; ++k)
        Product::multiply_e4m3(c, rows.plus(k * kDepthStepByEdge), columns.plus(k * kDepthStepByEdge), k > 0);
      products_commit();
      const float row_scales[2] = {memory.row_scales(at)[own_row], memory.row_scales(at)[own_row + 8]};
      const float* const column_scales = memory.column_scales(at) + (kOneScale ? 0 : 2 * (lane % 4));
      const float one_scale = column_scales[0];
      products_wait<0>();
#pragma unroll
      for (int n = 0; n < kEdge / 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float column_scale = kOneScale ? one_scale : column_scales[8 * n + i % 2];
          float& sum = sums[4 * n + i];
          sum = fmaf(c[4 * n + i], row_scales[i / 2] * column_scale, sum);
        }
      __syncwarp();  // all lanes have read the scales
      if (lane == 0) barrier_arrive(memory.barriers().read[at]);
      stage.advance();
    }
    write_sums<Out>(sums, p, tile.c, tile.first_row + own_row, tile.rows, tile.first_column);
  }
}

template <class Out, bool kOneScale>
__global__ void __launch_bounds__(kTiledThreads, 1) product_kernel(const __grid_constant__ TiledFp8Product q) {
  const Memory memory{dynamic_shared_tiles()};
  static_assert(sizeof(Memory::Barriers) <= kBarriersBytes);
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) {
      barrier_init(memory.barriers().there[i], 2);
      barrier_init(memory.barriers().read[i], kMultiplyingWarps);
    }
    barrier_init_done();
  }
  __syncthreads();
  const int warpgroup = static_cast<int>(threadIdx.x) / kWarpgroup, warp = static_cast<int>(threadIdx.x) / 32;
  if (warpgroup == 0) {
    release_registers<kRegistersOfScales>();
    if (warp > 0)
      bring_scales_of_turn<Out>(q, memory, warp - 1);
    else if (lane_id() == 0)
      bring_bytes<Out>(q, memory);
  } else {
    claim_registers<kRegistersOfSums>();
    multiply<Out, kOneScale>(q.tiled.product, memory, warpgroup - 1);
  }
}

template <class Out>
cudaError_t launch_into(const TiledFp8Product& q, int processors, cudaStream_t stream) {
  const std::int64_t tiles = tiles_of(q.tiled.product, kEdge, kEdge);
  const LaunchShape shape{dim3(static_cast<unsigned>(tiles < processors ? tiles : processors)), dim3(kTiledThreads),
                          kSharedBytes};
  if (1 << q.b_scales.shift == kEdge) return launch(product_kernel<Out, true>, shape, stream, q);
  return launch(product_kernel<Out, false>, shape, stream, q);
}

}  // namespace

cudaError_t launch_tiled_fp8_product(const TiledFp8Product& q, DType out, int processors, cudaStream_t stream) {
  if (out == DType::bf16) return launch_into<bf16>(q, processors, stream);
  if (out == DType::f32) return launch_into<float>(q, processors, stream);
  return cudaErrorInvalidValue;
}

}  // namespace athanor::cuda
