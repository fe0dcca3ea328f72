// Products of E4M3 on tensor cores: tiles of 128 x 128 in steps of 64 along the depth, four steps on their way through
// shared memory while one is computed. Every 128 the tensor cores' sum is multiplied by both scales and added to a sum
// in f32 registers (DeepSeek-V3 report, section 3.3.2: Hopper keeps about 14 bits inside). Bytes travel in pairs as
// bf16 do, so tiles in shared memory and ldmatrix are those of bf16 at half the depth.
#include "src/backend/cuda/fp8_kernels.cuh"
#include "src/backend/cuda/grouped_tiles.cuh"
#include "src/backend/cuda/launch.cuh"
#include "src/backend/cuda/shared_tile.cuh"

namespace athanor::cuda {
namespace {

constexpr int kEdge = kProductTileBf16, kDepth = 32, kStages = 4, kThreads = 256;  // kDepth in pairs of bytes
constexpr int kStepsOfScale = kFp8Tile / (2 * kDepth);
constexpr int kWarpRows = 64, kWarpColumns = 32;  ///< two warps along the rows, four along the columns
constexpr int kRowTiles = kWarpRows / 16, kColumnTiles = kWarpColumns / 8;
constexpr int kStage = 2 * kEdge * kDepth;
constexpr std::size_t kSharedBytes = sizeof(bf16) * kStages * kStage;

__device__ __forceinline__ void load_step(bf16* to, const std::uint8_t* from, std::int64_t stride, int edge, int size,
                                          int depth, int depths) {
  SharedTile<kEdge, kDepth>{to}.template load<kThreads>(
      [&](int row) {
        return edge + row < size ? reinterpret_cast<const bf16*>(from + (edge + row) * stride + depth) : nullptr;
      },
      (depths - depth) / 2, true);
}

__device__ inline float scale_at(const Fp8Scales& scales, std::int64_t row, std::int64_t tile) {
  return scales.data[tile * scales.by_tile + (row >> scales.shift) * scales.by_row];
}

template <class Out>
__global__ void __launch_bounds__(kThreads, 1) product_kernel(Fp8GroupedProduct q) {
  const GroupedProduct& p = q.product;
  bf16* memory = dynamic_shared<bf16>();
  const int lane = static_cast<int>(lane_id()), warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_row = warp / 4 * kWarpRows, warp_column = warp % 4 * kWarpColumns;

  TileWalk<std::uint8_t, Out, kEdge> walk(p);
  ProductTile<std::uint8_t, Out> tile{};
  while (walk.next(tile)) {
    const int steps = (tile.depth + 2 * kDepth - 1) / (2 * kDepth);
    const auto fetch = [&](int step) {
      if (step < steps) {
        bf16* to = memory + step % kStages * kStage;
        const int depth = step * 2 * kDepth;
        load_step(to, tile.a, p.a_stride, tile.first_row, tile.rows, depth, tile.depth);
        load_step(to + kEdge * kDepth, tile.b, p.b_stride, tile.first_column, tile.columns, depth, tile.depth);
      }
      copies_commit();
    };
    Fp8Scales a_scales = q.a_scales, b_scales = q.b_scales;
    if (p.by == GroupBy::rows) a_scales.data += tile.begin * a_scales.by_row;
    if (p.by == GroupBy::rows) b_scales.data += tile.group * b_scales.by_group;
    if (p.by == GroupBy::places) a_scales.data += tile.begin / kPlaces * a_scales.by_tile;
    if (p.by == GroupBy::places) b_scales.data += tile.begin / kPlaces * b_scales.by_tile;
    const auto row_of = [&](int m, int half) { return tile.first_row + warp_row + m * 16 + lane / 4 + half * 8; };
    const auto column_of = [&](int n, int i) { return tile.first_column + warp_column + n * 8 + 2 * (lane % 4) + i; };

    float sums[kRowTiles][kColumnTiles][4] = {}, c[kRowTiles][kColumnTiles][4] = {};
    for (int step = 0; step < kStages - 1; ++step) fetch(step);
    for (int step = 0; step < steps; ++step) {
      copies_wait<kStages - 2>();
      __syncthreads();
      fetch(step + kStages - 1);  // where the step before this one was, which all have read
      const SharedTile<kEdge, kDepth> a{memory + step % kStages * kStage};
      const SharedTile<kEdge, kDepth> b{a.data + kEdge * kDepth};
#pragma unroll
      for (int k = 0; k < kDepth; k += 16) {
        FragmentA rows[kRowTiles];
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) rows[m] = a.a(warp_row + m * 16, k);
#pragma unroll
        for (int n = 0; n < kColumnTiles; n += 2) {
          const FragmentB2 columns = b.b_transposed(warp_column + n * 8, k);
#pragma unroll
          for (int m = 0; m < kRowTiles; ++m) {
            mma_16x8x32_e4m3(c[m][n], rows[m], columns.r[0], columns.r[1]);
            mma_16x8x32_e4m3(c[m][n + 1], rows[m], columns.r[2], columns.r[3]);
          }
        }
      }
      if (step % kStepsOfScale != kStepsOfScale - 1 && step != steps - 1) continue;
      const int at = step / kStepsOfScale;
      float column_scales[kColumnTiles][2];
#pragma unroll
      for (int n = 0; n < kColumnTiles; ++n)
        for (int i = 0; i < 2; ++i)
          column_scales[n][i] = column_of(n, i) < tile.columns ? scale_at(b_scales, column_of(n, i), at) : 0.0F;
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float row_scale = row_of(m, half) < tile.rows ? scale_at(a_scales, row_of(m, half), at) : 0.0F;
#pragma unroll
          for (int n = 0; n < kColumnTiles; ++n)
#pragma unroll
            for (int i = 0; i < 2; ++i) {
              float& sum = sums[m][n][2 * half + i];
              sum = fmaf(c[m][n][2 * half + i], row_scale * column_scales[n][i], sum);
              c[m][n][2 * half + i] = 0.0F;
            }
        }
    }
    copies_wait<0>();
    __syncthreads();

#pragma unroll
    for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
      for (int n = 0; n < kColumnTiles; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int row = row_of(m, i / 2), column = column_of(n, i % 2);
          if (row < tile.rows && column < tile.columns)
            put(tile.c[row * p.c_stride + column], sums[m][n][i], p.accumulate);
        }
  }
}

}  // namespace

cudaError_t launch_fp8_product(const Fp8GroupedProduct& product, DType out, int processors, cudaStream_t stream) {
  const std::int64_t tiles = tiles_of(product.product, kEdge, kEdge);
  const LaunchShape shape{dim3(static_cast<unsigned>(tiles < processors ? tiles : processors)), dim3(kThreads),
                          kSharedBytes};
  if (out == DType::bf16) return launch(product_kernel<bf16>, shape, stream, product);
  if (out == DType::f32) return launch(product_kernel<float>, shape, stream, product);
  return cudaErrorInvalidValue;
}

}  // namespace athanor::cuda
