// Grouped products of f32 and f64 without tensor cores (f32 is real f32, not TF32): tiles of 64 x 64 in steps of 16
// along the depth, a thread makes 4 x 4 elements.
#include "src/backend/cuda/grouped_tiles.cuh"
#include "src/backend/cuda/launch.cuh"

namespace athanor::cuda {
namespace {

constexpr int kEdge = kProductTilePlain, kDepth = 16, kThreads = 256;
constexpr int kOfThread = 4, kThreadsOfEdge = kEdge / kOfThread;

__device__ inline float multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
__device__ inline double multiply_add(double a, double b, double c) { return fma(a, b, c); }

/// to[depth][edge] from either storage; zeros outside. Neighbouring threads read neighbouring elements.
template <class T, bool kByDepth>
__device__ void load_step(T (&to)[kDepth][kEdge + 1], const T* from, std::int64_t stride, int edge, int size, int depth,
                          int depths) {
  for (int i = static_cast<int>(threadIdx.x); i < kDepth * kEdge; i += kThreads) {
    const int d = kByDepth ? i / kEdge : i % kDepth, e = kByDepth ? i % kEdge : i / kDepth;
    const bool inside = depth + d < depths && edge + e < size;
    to[d][e] = inside ? from[kByDepth ? (depth + d) * stride + edge + e : (edge + e) * stride + depth + d] : T{0};
  }
}

template <class T, bool kAByDepth, bool kBByDepth>
__global__ void __launch_bounds__(kThreads) product_kernel(GroupedProduct p) {
  __shared__ T a[kDepth][kEdge + 1], b[kDepth][kEdge + 1];
  const int row = static_cast<int>(threadIdx.x) / kThreadsOfEdge,
            column = static_cast<int>(threadIdx.x) % kThreadsOfEdge;

  TileWalk<T, T, kEdge> walk(p);
  ProductTile<T, T> tile{};
  while (walk.next(tile)) {
    T c[kOfThread][kOfThread] = {};
    for (int depth = 0; depth < tile.depth; depth += kDepth) {
      load_step<T, kAByDepth>(a, tile.a, p.a_stride, tile.first_row, tile.rows, depth, tile.depth);
      load_step<T, kBByDepth>(b, tile.b, p.b_stride, tile.first_column, tile.columns, depth, tile.depth);
      __syncthreads();
#pragma unroll
      for (int d = 0; d < kDepth; ++d)
#pragma unroll
        for (int i = 0; i < kOfThread; ++i)
#pragma unroll
          for (int j = 0; j < kOfThread; ++j)
            c[i][j] = multiply_add(a[d][row + i * kThreadsOfEdge], b[d][column + j * kThreadsOfEdge], c[i][j]);
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < kOfThread; ++i)
#pragma unroll
      for (int j = 0; j < kOfThread; ++j) {
        const int r = tile.first_row + row + i * kThreadsOfEdge, s = tile.first_column + column + j * kThreadsOfEdge;
        if (r >= tile.rows || s >= tile.columns) continue;
        T& to = tile.c[r * p.c_stride + s];
        to = p.accumulate ? to + c[i][j] : c[i][j];
      }
  }
}

template <class T, bool kAByDepth, bool kBByDepth>
cudaError_t launch_as(const GroupedProduct& product, int processors, cudaStream_t stream) {
  constexpr int kBlocksOfProcessor = 4;
  const std::int64_t tiles = tiles_of(product, kEdge, kEdge), fitting = std::int64_t{kBlocksOfProcessor} * processors;
  return launch(product_kernel<T, kAByDepth, kBByDepth>,
                LaunchShape{dim3(static_cast<unsigned>(tiles < fitting ? tiles : fitting)), dim3(kThreads), 0}, stream,
                product);
}

template <class T>
cudaError_t launch_of(const GroupedProduct& product, int processors, cudaStream_t stream) {
  if (!product.b_by_depth && !product.a_by_depth) return launch_as<T, false, false>(product, processors, stream);
  if (product.b_by_depth && !product.a_by_depth) return launch_as<T, false, true>(product, processors, stream);
  if (product.b_by_depth) return launch_as<T, true, true>(product, processors, stream);
  return cudaErrorInvalidValue;
}

}  // namespace

cudaError_t launch_grouped_product_plain(const GroupedProduct& product, DType type, int processors,
                                         cudaStream_t stream) {
  if (type == DType::f32) return launch_of<float>(product, processors, stream);
  if (type == DType::f64) return launch_of<double>(product, processors, stream);
  return cudaErrorInvalidValue;
}

std::int64_t tiles_of(const GroupedProduct& product, int row_edge, int column_edge) {
  const std::int64_t columns = (product.columns + column_edge - 1) / column_edge,
                     rows = (product.rows + row_edge - 1) / row_edge;
  // Cut by rows, each group may end in a tile of its own.
  return columns * (product.by == GroupBy::rows ? rows + product.num_groups : rows * product.num_groups);
}

cudaError_t launch_grouped_product(const GroupedProduct& product, DType in, DType out, int processors,
                                   cudaStream_t stream) {
  if (product.num_groups == 0 || product.rows == 0 || product.columns == 0) return cudaSuccess;
  if (in == DType::bf16) return launch_grouped_product_bf16(product, out, processors, stream);
  return in == out ? launch_grouped_product_plain(product, in, processors, stream) : cudaErrorInvalidValue;
}

}  // namespace athanor::cuda
