// Grouped products of bf16 on Hopper: the copy engine brings tiles of a and b, one warp asking for them ahead of two
// warpgroups that multiply, 64 rows each by 128 or 256 columns. Law: where the depth of a group ends inside a tile, the
// rows of the next group behind it are made zero before the product reads them.
#include "src/backend/cuda/grouped_tiled.cuh"
#include "src/backend/cuda/launch.cuh"

namespace athanor::cuda {
namespace {

constexpr int kRows = kTiledRows;
constexpr int kBoxBytes = kTileRowBytes * kTiledDepth;  ///< 64 elements by 64 rows

template <int kColumns>
struct Stages {
  static constexpr int kBytesOfA = kRows * kTileRowBytes, kBytes = (kRows + kColumns) * kTileRowBytes;
  static constexpr int kCount = 196608 / kBytes;
  static constexpr int kBarriersBytes = 1024;  ///< so that the sum stays a multiple of 1024
  static constexpr std::size_t kSharedBytes = std::size_t{kCount} * kBytes + kBarriersBytes;
};

/// What the two sides of the ring share.
template <int kCount>
struct Ring {
  TileBarrier full[kCount];   ///< a stage's tiles are there
  TileBarrier empty[kCount];  ///< all who multiply have read it
  TileBarrier raw;            ///< tiles are there, but some of their rows belong to the next group
};

/// One warp brings the tiles of every step.
template <bool kAByDepth, bool kBByDepth, int kColumns, class Walk, class Tile>
__device__ void bring(const TiledProduct& q, Walk& walk, unsigned char* memory, Ring<Stages<kColumns>::kCount>& ring) {
  using S = Stages<kColumns>;
  const int lane = static_cast<int>(lane_id());
  const bool by_rows = q.product.by == GroupBy::rows, by_depth = q.product.by == GroupBy::depth;
  Stage<S::kCount> stage;
  std::uint32_t raw_parity = 0;
  Tile tile{};
  while (walk.next(tile)) {
    const int steps = (tile.depth + kTiledDepth - 1) / kTiledDepth;
    const int row = tile.first_row + (by_rows ? tile.begin : 0), group_of_a = by_rows || by_depth ? 0 : tile.group;
    const int first_depth = by_depth ? tile.begin : 0, group_of_b = by_depth ? 0 : tile.group;
    for (int step = 0; step < steps; ++step) {
      barrier_wait(ring.empty[stage.index], stage.parity ^ 1U);
      unsigned char* const a = memory + stage.index * S::kBytes;
      const int depth = first_depth + step * kTiledDepth, left = tile.depth - step * kTiledDepth;
      const bool crosses = by_depth && left < kTiledDepth;
      TileBarrier& there = crosses ? ring.raw : ring.full[stage.index];
      if (lane == 0) {
        barrier_arrive_expecting(there, S::kBytes);
        if constexpr (kAByDepth)
          for (int i = 0; i < kRows / kTiledDepth; ++i)
            copy_tile(a + i * kBoxBytes, q.a, row + i * kTiledDepth, depth, group_of_a, there);
        else
          copy_tile(a, q.a, depth, row, group_of_a, there);
        unsigned char* const b = a + S::kBytesOfA;
        if constexpr (kBByDepth)
          for (int i = 0; i < kColumns / kTiledDepth; ++i)
            copy_tile(b + i * kBoxBytes, q.b, tile.first_column + i * kTiledDepth, depth, group_of_b, there);
        else
          copy_tile(b, q.b, depth, tile.first_column, group_of_b, there);
      }
      if (crosses) {  // both operands then lie by depth: rows of boxes are the depth
        barrier_wait(ring.raw, raw_parity);
        raw_parity ^= 1U;
        constexpr int kChunks = kTileRowBytes / 16;
        const int chunks = (kTiledDepth - left) * kChunks;
        for (int box = 0; box < S::kBytes / kBoxBytes; ++box)
          for (int i = lane; i < chunks; i += 32)
            *reinterpret_cast<uint4*>(a + box * kBoxBytes + left * kTileRowBytes + i * 16) = make_uint4(0, 0, 0, 0);
        fence_for_copies_and_products();
        __syncwarp();
        if (lane == 0) barrier_arrive(ring.full[stage.index]);
      }
      stage.advance();
    }
  }
}

template <class Out, bool kAByDepth, bool kBByDepth, int kColumns, class Walk, class Tile>
__device__ void multiply(const GroupedProduct& p, Walk& walk, unsigned char* memory,
                         Ring<Stages<kColumns>::kCount>& ring, int warpgroup) {
  using S = Stages<kColumns>;
  using Product = WarpgroupProduct<kColumns>;
  constexpr int kStepOfA = kAByDepth ? kDepthStepByDepth : kDepthStepByEdge;
  constexpr int kStepOfB = kBByDepth ? kDepthStepByDepth : kDepthStepByEdge;
  const int lane = static_cast<int>(lane_id());
  Stage<S::kCount> stage;
  Tile tile{};
  while (walk.next(tile)) {
    const int steps = (tile.depth + kTiledDepth - 1) / kTiledDepth;
    float sums[Product::kSums];
    if (steps == 0) {
#pragma unroll
      for (int i = 0; i < Product::kSums; ++i) sums[i] = 0.0F;
    }
    int read = 0;  // the stage whose products may still be reading
    for (int step = 0; step < steps; ++step) {
      barrier_wait(ring.full[stage.index], stage.parity);
      unsigned char* const a = memory + stage.index * S::kBytes;
      // By depth a box is 64 rows of the product; by edge the rows lie one below the other: the same place.
      unsigned char* const own = a + warpgroup * kBoxBytes;
      const Operand rows = kAByDepth ? Operand::by_depth(own, kBoxBytes) : Operand::by_edge(own);
      const Operand columns =
          kBByDepth ? Operand::by_depth(a + S::kBytesOfA, kBoxBytes) : Operand::by_edge(a + S::kBytesOfA);
      products_begin();
#pragma unroll
      for (int k = 0; k < kTiledDepth / 16; ++k)
        Product::template multiply<kAByDepth, kBByDepth>(sums, rows.plus(k * kStepOfA), columns.plus(k * kStepOfB),
                                                         step > 0 || k > 0);
      products_commit();
      if (step > 0) {
        products_wait<1>();
        if (lane == 0) barrier_arrive(ring.empty[read]);
      }
      read = stage.index;
      stage.advance();
    }
    products_wait<0>();
    if (steps > 0 && lane == 0) barrier_arrive(ring.empty[read]);
    write_sums<Out>(sums, p, tile.c, tile.first_row + warpgroup * kRowsOfWarpgroup + row_of_sums(), tile.rows,
                    tile.first_column);
  }
}

template <class Out, bool kAByDepth, bool kBByDepth, int kColumns>
__global__ void __launch_bounds__(kTiledThreads, 1) product_kernel(const __grid_constant__ TiledProduct q) {
  using S = Stages<kColumns>;
  using Tile = ProductTile<bf16, Out>;
  using Walk = TileWalk<bf16, Out, kRows, kColumns>;
  unsigned char* const memory = dynamic_shared_tiles();
  auto& ring = *reinterpret_cast<Ring<S::kCount>*>(memory + S::kCount * S::kBytes);
  static_assert(sizeof(ring) <= S::kBarriersBytes);
  if (threadIdx.x == 0) {
    for (int i = 0; i < S::kCount; ++i) {
      barrier_init(ring.full[i], 1);
      barrier_init(ring.empty[i], kMultiplyingWarps);
    }
    barrier_init(ring.raw, 1);
    barrier_init_done();
  }
  __syncthreads();
  Walk walk(q.product);
  const int warpgroup = static_cast<int>(threadIdx.x) / kWarpgroup;
  if (warpgroup == 0) {
    release_registers<kRegistersToBring>();
    if (threadIdx.x < 32) bring<kAByDepth, kBByDepth, kColumns, Walk, Tile>(q, walk, memory, ring);
  } else {
    claim_registers<kRegistersToMultiply>();
    multiply<Out, kAByDepth, kBByDepth, kColumns, Walk, Tile>(q.product, walk, memory, ring, warpgroup - 1);
  }
}

template <class Out, bool kAByDepth, bool kBByDepth, int kColumns>
cudaError_t launch_as(const TiledProduct& q, int processors, cudaStream_t stream) {
  const std::int64_t tiles = tiles_of(q.product, kRows, kColumns);
  return launch(product_kernel<Out, kAByDepth, kBByDepth, kColumns>,
                LaunchShape{dim3(static_cast<unsigned>(tiles < processors ? tiles : processors)), dim3(kTiledThreads),
                            Stages<kColumns>::kSharedBytes},
                stream, q);
}

template <class Out, int kColumns>
cudaError_t launch_into(const TiledProduct& q, int processors, cudaStream_t stream) {
  const GroupedProduct& p = q.product;
  if (!p.b_by_depth && !p.a_by_depth) return launch_as<Out, false, false, kColumns>(q, processors, stream);
  if (p.b_by_depth && !p.a_by_depth) return launch_as<Out, false, true, kColumns>(q, processors, stream);
  if (p.b_by_depth) return launch_as<Out, true, true, kColumns>(q, processors, stream);
  return cudaErrorInvalidValue;
}

template <class Out>
cudaError_t launch_wide(const TiledProduct& q, int processors, cudaStream_t stream) {
  if (tiled_columns(q.product.columns) == kTiledColumns) return launch_into<Out, kTiledColumns>(q, processors, stream);
  return launch_into<Out, kTiledColumns / 2>(q, processors, stream);
}

}  // namespace

cudaError_t launch_tiled_product(const TiledProduct& q, DType out, int processors, cudaStream_t stream) {
  if (q.product.num_groups == 0 || q.product.rows == 0 || q.product.columns == 0) return cudaSuccess;
  if (out == DType::bf16) return launch_wide<bf16>(q, processors, stream);
  if (out == DType::f32) return launch_wide<float>(q, processors, stream);
  return cudaErrorInvalidValue;
}

}  // namespace athanor::cuda
