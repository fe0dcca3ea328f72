// Kernels of grouped_gemm.cpp and per_head_gemm.cpp: many products of one form, c = a * b (+ c), one for each group
// (an expert, a head). Law: where a group's rows begin is known on the device only; blocks walk the tiles of all groups
// in order, each every gridDim-th. An element is summed along the depth in order by one thread of one block: the same
// bits whatever shares its tile.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "src/base/dtype.hpp"

namespace athanor::cuda {

/// What a group's offsets cut.
enum class GroupBy : std::uint8_t {
  rows,    ///< rows [offsets[e], offsets[e + 1]) of a and c; b by group
  depth,   ///< rows [offsets[e], offsets[e + 1]) of a and b, which are stored by depth; c by group
  places,  ///< columns of a and b, offsets[e + 1] - offsets[e] of them from a multiple of 128 on; c by group
  whole,   ///< nothing: a, b and c by group
};

struct GroupedProduct {
  const void* a = nullptr;
  const void* b = nullptr;
  void* c = nullptr;
  const std::int32_t* offsets_E1 = nullptr;
  GroupBy by = GroupBy::whole;
  bool a_by_depth = false;                                ///< a is stored [depth, rows], else [rows, depth]
  bool b_by_depth = false;                                ///< b is stored [depth, columns], else [columns, depth]
  bool accumulate = false;                                ///< c += a * b
  bool whole_vectors = false;                             ///< rows of a and b are whole chunks of 16 bytes
  bool whole_c = false;                                   ///< so are rows of c
  int num_groups = 0, rows = 0, columns = 0, depth = 0;   ///< of one group; what the offsets cut: an upper bound of all
  std::int64_t a_stride = 0, b_stride = 0, c_stride = 0;  ///< elements between two stored rows
  std::int64_t a_of_group = 0, b_of_group = 0, c_of_group = 0;  ///< elements between two groups
};

/// The same with its operands described to the copy engine (tile_copy.cuh): three dimensions, what lies side by side
/// first, groups last where they do not lie among the rows.
struct TiledProduct {
  GroupedProduct product;
  CUtensorMap a, b;
};

/// Edge of the tiles of c.
inline constexpr int kProductTileBf16 = 128, kProductTilePlain = 64;
/// The tile of c with wgmma.cuh: rows by columns; half as many columns where the product would fill less of the wider.
inline constexpr int kTiledRows = 128, kTiledColumns = 256;
constexpr int tiled_columns(int columns) {
  const int wide = (columns + kTiledColumns - 1) / kTiledColumns * kTiledColumns;
  const int narrow = (columns + kTiledColumns / 2 - 1) / (kTiledColumns / 2) * (kTiledColumns / 2);
  return wide > narrow ? kTiledColumns / 2 : kTiledColumns;
}
/// Rows and columns of a box of a (b) of the copy engine: elements side by side are 128 bytes always.
inline constexpr int kTiledDepth = 64;

/// Tiles of c, at most.
std::int64_t tiles_of(const GroupedProduct& product, int row_edge, int column_edge);

/// bf16 into bf16 or f32, f32 into f32, f64 into f64; by rows times by rows, by rows times by depth, by depth times by
/// depth. Anything else is cudaErrorInvalidValue.
cudaError_t launch_grouped_product(const GroupedProduct& product, DType in, DType out, int processors,
                                   cudaStream_t stream);
cudaError_t launch_grouped_product_bf16(const GroupedProduct& product, DType out, int processors, cudaStream_t stream);
/// bf16 on Hopper (compute capability 9.0), operands of whole vectors.
cudaError_t launch_tiled_product(const TiledProduct& product, DType out, int processors, cudaStream_t stream);
cudaError_t launch_grouped_product_plain(const GroupedProduct& product, DType type, int processors,
                                         cudaStream_t stream);

}  // namespace athanor::cuda
