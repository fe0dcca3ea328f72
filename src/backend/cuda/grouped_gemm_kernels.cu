// Grouped products of bf16 on tensor cores: tiles of 128 x 128 in steps of 32 along the depth, four steps on their way
// through shared memory while one is computed, summed in f32.
#include "src/backend/cuda/grouped_tiles.cuh"
#include "src/backend/cuda/launch.cuh"
#include "src/backend/cuda/shared_tile.cuh"

namespace athanor::cuda {
namespace {

constexpr int kEdge = kProductTileBf16, kDepth = 32, kStages = 4, kThreads = 256;
constexpr int kWarpRows = 64, kWarpColumns = 32;  ///< two warps along the rows, four along the columns
constexpr int kRowTiles = kWarpRows / 16, kColumnTiles = kWarpColumns / 8;
constexpr int kStage = 2 * kEdge * kDepth;
constexpr std::size_t kSharedBytes = sizeof(bf16) * kStages * kStage;

/// Steps of a's (or b's) tile: `by_depth` says how the matrix is stored, `edge` where the tile begins, `size` how many
/// rows (columns) of the product there are.
template <bool kByDepth>
__device__ __forceinline__ void load_step(bf16* to, const bf16* from, std::int64_t stride, int edge, int size,
                                          int depth, int depths, bool whole) {
  if constexpr (kByDepth) {
    SharedTile<kDepth, kEdge>{to}.template load<kThreads>(
        [&](int row) { return depth + row < depths ? from + (depth + row) * stride + edge : nullptr; }, size - edge,
        whole);
  } else {
    SharedTile<kEdge, kDepth>{to}.template load<kThreads>(
        [&](int row) { return edge + row < size ? from + (edge + row) * stride + depth : nullptr; }, depths - depth,
        whole);
  }
}

template <class Out, bool kAByDepth, bool kBByDepth>
__global__ void __launch_bounds__(kThreads) product_kernel(GroupedProduct p) {
  bf16* memory = dynamic_shared<bf16>();
  const int lane = static_cast<int>(lane_id()), warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_row = warp / 4 * kWarpRows, warp_column = warp % 4 * kWarpColumns;

  TileWalk<bf16, Out, kEdge> walk(p);
  ProductTile<bf16, Out> tile{};
  while (walk.next(tile)) {
    const int steps = (tile.depth + kDepth - 1) / kDepth;
    const auto fetch = [&](int step) {
      if (step < steps) {
        bf16* to = memory + step % kStages * kStage;
        load_step<kAByDepth>(to, tile.a, p.a_stride, tile.first_row, tile.rows, step * kDepth, tile.depth,
                             p.whole_vectors);
        load_step<kBByDepth>(to + kEdge * kDepth, tile.b, p.b_stride, tile.first_column, tile.columns, step * kDepth,
                             tile.depth, p.whole_vectors);
      }
      copies_commit();
    };
    float c[kRowTiles][kColumnTiles][4] = {};
    for (int step = 0; step < kStages - 1; ++step) fetch(step);
    for (int step = 0; step < steps; ++step) {
      copies_wait<kStages - 2>();
      __syncthreads();
      fetch(step + kStages - 1);  // where the step before this one was, which all have read
      bf16* const a = memory + step % kStages * kStage;
      bf16* const b = a + kEdge * kDepth;
#pragma unroll
      for (int k = 0; k < kDepth; k += 16) {
        FragmentA rows[kRowTiles];
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
          if constexpr (kAByDepth)
            rows[m] = SharedTile<kDepth, kEdge>{a}.a_transposed(k, warp_row + m * 16);
          else
            rows[m] = SharedTile<kEdge, kDepth>{a}.a(warp_row + m * 16, k);
        }
#pragma unroll
        for (int n = 0; n < kColumnTiles; n += 2) {
          FragmentB2 columns;
          if constexpr (kBByDepth)
            columns = SharedTile<kDepth, kEdge>{b}.b(k, warp_column + n * 8);
          else
            columns = SharedTile<kEdge, kDepth>{b}.b_transposed(warp_column + n * 8, k);
#pragma unroll
          for (int m = 0; m < kRowTiles; ++m) mma_pair(c[m][n], c[m][n + 1], rows[m], columns);
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
          const int row = tile.first_row + warp_row + m * 16 + lane / 4 + i / 2 * 8;
          const int column = tile.first_column + warp_column + n * 8 + 2 * (lane % 4) + i % 2;
          if (row < tile.rows && column < tile.columns)
            put(tile.c[row * p.c_stride + column], c[m][n][i], p.accumulate);
        }
  }
}

template <class Out, bool kAByDepth, bool kBByDepth>
cudaError_t launch_as(const GroupedProduct& product, int processors, cudaStream_t stream) {
  constexpr int kBlocksOfProcessor = 2;  // by registers; shared memory would hold three
  const std::int64_t tiles = tiles_of(product, kEdge, kEdge), fitting = std::int64_t{kBlocksOfProcessor} * processors;
  return launch(
      product_kernel<Out, kAByDepth, kBByDepth>,
      LaunchShape{dim3(static_cast<unsigned>(tiles < fitting ? tiles : fitting)), dim3(kThreads), kSharedBytes}, stream,
      product);
}

template <class Out>
cudaError_t launch_into(const GroupedProduct& product, int processors, cudaStream_t stream) {
  if (!product.b_by_depth && !product.a_by_depth) return launch_as<Out, false, false>(product, processors, stream);
  if (product.b_by_depth && !product.a_by_depth) return launch_as<Out, false, true>(product, processors, stream);
  if (product.b_by_depth) return launch_as<Out, true, true>(product, processors, stream);
  return cudaErrorInvalidValue;
}

}  // namespace

cudaError_t launch_grouped_product_bf16(const GroupedProduct& product, DType out, int processors, cudaStream_t stream) {
  if (out == DType::bf16) return launch_into<bf16>(product, processors, stream);
  if (out == DType::f32) return launch_into<float>(product, processors, stream);
  return cudaErrorInvalidValue;
}

}  // namespace athanor::cuda
