// Kernels of attention.cpp. Law: key ranges, documents and slots are known on the device only: a first kernel cuts them
// into tiles (find_tiles) and the others take units of work (a tile and a head) from a counter, so that the host waits
// for nothing. Legend: T tokens or query rows, H query heads, G key/value heads, Q width of a query/key head, V width
// of a value head.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "src/base/dtype.hpp"

namespace athanor::cuda {

/// A row's softmax is summed in stretches of so many keys, counted from the first key of its document or slot, which
/// are then merged in order. The order is the same whether one block walks all of them or each has a block of its own,
/// so decode, prefill and training agree bit for bit.
inline constexpr int kKeysPerSplit = 1024;

/// Query rows [begin, next tile's begin) of stretch `stretch`; keys are counted from row `origin`, or, in a cache, from
/// the page that entry `origin` of the page table names.
struct QueryTile {
  int begin, origin, stretch;
};
/// Queries [query_begin, next stretch's query_begin) that see keys of no other stretch, from key row `origin`.
struct Stretch {
  int query_begin, origin;
};
/// Keys [begin, begin + keys of a tile) as far as the stretch's.
struct KeyTile {
  int begin, stretch;
};
inline constexpr int kKeysOfTile = 64;  ///< where nothing else is asked for

/// What find_tiles leaves on the device. Each list has one entry more than its count: the end.
struct TileLists {
  enum Count { kQueryTiles, kStretches, kKeyTiles, kNextUnit, kNextUnitOfQueries, kNumCounts };
  int* counts = nullptr;             ///< [kNumCounts]; the next units are zero
  QueryTile* query_tiles = nullptr;  ///< [T + 1]
  Stretch* stretches = nullptr;      ///< [T + 1]
  KeyTile* key_tiles = nullptr;      ///< [T + keys / keys of a tile + 1]; null: not wanted
};

/// What to cut into tiles: stretches of key ranges, or (slots given) runs of neighbouring rows of one slot.
struct TileRequest {
  const std::int32_t* key_begin_T = nullptr;
  const std::int32_t* key_end_T = nullptr;  ///< null: t + 1
  const std::int32_t* slots_R = nullptr;
  int pages_per_slot = 0;
  int rows = 0;
  int rows_per_tile = 0;
  int keys_per_tile = kKeysOfTile;
};

template <class T>
struct AccumulatorOf {
  using Type = T;
};
template <>
struct AccumulatorOf<bf16> {
  using Type = float;
};

/// o = softmax(scale * q k^T) v for tiles of rows; also lse_TH where given.
template <class T>
struct AttendArgs {
  using Acc = typename AccumulatorOf<T>::Type;
  T* o = nullptr;
  Acc* lse_TH = nullptr;
  const T *q = nullptr, *k = nullptr, *v = nullptr;
  const std::int32_t* key_begin_T = nullptr;  ///< null: the tile's origin
  const std::int32_t* key_end_T = nullptr;    ///< absolute key rows; null: lengths, else t + 1
  const std::int32_t* lengths_R = nullptr;    ///< keys from the origin
  const std::int32_t* pages_SP = nullptr;     ///< of a cache, pages of 2^page_bits rows; null: keys follow each other
  int page_bits = 0;
  TileLists tiles;
  int num_heads = 0, num_kv_heads = 0, qk_dim = 0, v_dim = 0;
  std::int64_t k_stride = 0, v_stride = 0;  ///< elements between two key rows, two value rows
  std::int64_t v_head = 0;                  ///< elements between the values of two heads
  int heads_per_tile = 1;                   ///< heads of one group that share a tile; times tokens: its rows
  Acc scale = 0;
  bool values_in_keys = false;  ///< v is the front of the key row
  bool whole_vectors = false;   ///< rows of q, k, v begin at multiples of 16 bytes
  int parallel_splits = 0;      ///< blocks along a row's keys; 0: one block walks them
  Acc* parked = nullptr;        ///< [blocks, rows of a tile, width]: what earlier splits gave
  Acc* partial = nullptr;       ///< [T, H, parallel_splits, V + 2]: sums, their maximum and weight
};

/// delta_TH = rowsum(d_o * o), then dk, dv by key tiles and dq by query tiles.
template <class T>
struct AttendBackwardArgs {
  using Acc = typename AccumulatorOf<T>::Type;
  T *dq = nullptr, *dk = nullptr, *dv = nullptr;
  const T *d_o = nullptr, *q = nullptr, *k = nullptr, *v = nullptr, *o = nullptr;
  const Acc* lse_TH = nullptr;
  Acc* delta_TH = nullptr;
  const std::int32_t* key_begin_T = nullptr;
  const std::int32_t* key_end_T = nullptr;
  TileLists tiles;
  int num_tokens = 0, keys_per_tile = kKeysOfTile;
  int num_heads = 0, num_kv_heads = 0, qk_dim = 0, v_dim = 0;
  Acc scale = 0;
  bool whole_vectors = false;
};

/// The launch of a kernel that walks units of work, as many blocks as run at once.
struct TileLaunch {
  int rows_per_tile = 0;         ///< query rows times heads_per_tile; in the backward by keys, keys
  int width = 0;                 ///< columns of `parked`
  int blocks_per_processor = 0;  ///< 0: no kernel holds the widths
  std::size_t shared_bytes = 0;  ///< dynamic shared memory of a block
};

/// Dynamic shared memory that a block may have, and what a processor has for all its blocks (Hopper: CUDA C++
/// Programming Guide, "Compute Capabilities").
inline constexpr std::size_t kSharedBytesOfBlock = std::size_t{227} << 10,
                             kSharedBytesOfProcessor = std::size_t{228} << 10;
/// Blocks that run on one processor at once; threads are taken to hold 255 registers.
constexpr int blocks_that_fit(std::size_t shared_bytes, int threads) {
  constexpr std::size_t kReservedOfBlock = 1024;
  constexpr int kRegistersOfProcessor = 65536, kRegistersOfThread = 256;
  if (shared_bytes > kSharedBytesOfBlock) return 0;
  const auto by_memory = static_cast<int>(kSharedBytesOfProcessor / (shared_bytes + kReservedOfBlock));
  const int by_registers = kRegistersOfProcessor / (kRegistersOfThread * threads);
  return by_memory < by_registers ? by_memory : by_registers;
}

cudaError_t launch_find_tiles(const TileRequest& request, const TileLists& lists, cudaStream_t stream);

/// How attention of these widths runs: bf16, and the plain kernels of f32 and f64.
TileLaunch attend_launch_bf16(int qk_dim, int v_dim, bool values_in_keys);
TileLaunch attend_launch_f32(int qk_dim, int v_dim, bool values_in_keys);
TileLaunch attend_launch_f64(int qk_dim, int v_dim, bool values_in_keys);
cudaError_t launch_attend(const AttendArgs<bf16>& args, int blocks, cudaStream_t stream);
cudaError_t launch_attend(const AttendArgs<float>& args, int blocks, cudaStream_t stream);
cudaError_t launch_attend(const AttendArgs<double>& args, int blocks, cudaStream_t stream);
/// o of the rows with more than kKeysPerSplit keys from their partial results, in order.
cudaError_t launch_merge_splits(const AttendArgs<bf16>& args, int rows, cudaStream_t stream);
cudaError_t launch_merge_splits(const AttendArgs<float>& args, int rows, cudaStream_t stream);
cudaError_t launch_merge_splits(const AttendArgs<double>& args, int rows, cudaStream_t stream);

/// The same on Hopper (compute capability 9.0), for bf16 of whole vectors and keys that follow each other; operands are
/// described to the copy engine (tile_copy.cuh) as [rows, heads, width].
struct TiledAttend {
  AttendArgs<bf16> args;
  CUtensorMap q, k, v;  ///< boxes of one head: `rows` queries, `keys` keys and values
};
/// Rows of the boxes: queries of a tile, keys that come by together; 0: no kernel holds the widths.
struct TiledShape {
  int rows = 0, keys = 0;
};
TiledShape tiled_attend_shape(int qk_dim, int v_dim);
cudaError_t launch_tiled_attend(const TiledAttend& args, int blocks, cudaStream_t stream);

/// The two passes of the backward: by tiles of keys (dk, dv) and by tiles of queries (dq).
struct BackwardLaunch {
  TileLaunch keys, queries;
};
BackwardLaunch attend_backward_launch_bf16(int qk_dim, int v_dim);
BackwardLaunch attend_backward_launch_f32(int qk_dim, int v_dim);
BackwardLaunch attend_backward_launch_f64(int qk_dim, int v_dim);
/// The backward on Hopper, as TiledAttend. Boxes of `rows` own a block, those of `keys` come by.
struct TiledAttendBackward {
  AttendBackwardArgs<bf16> args;  ///< keys_per_tile: TiledShape::rows
  CUtensorMap k_own, v_own, q_turn, d_o_turn, q_own, d_o_own, k_turn, v_turn;
};
TiledShape tiled_attend_backward_shape(int qk_dim, int v_dim);
cudaError_t launch_tiled_attend_backward(const TiledAttendBackward& args, int blocks, cudaStream_t stream);
/// Its first pass, after delta: dk and dv.
cudaError_t launch_tiled_attend_backward_keys(const TiledAttendBackward& args, int blocks, cudaStream_t stream);

cudaError_t launch_attend_backward(const AttendBackwardArgs<bf16>& args, int processors, cudaStream_t stream);
cudaError_t launch_attend_backward(const AttendBackwardArgs<float>& args, int processors, cudaStream_t stream);
cudaError_t launch_attend_backward(const AttendBackwardArgs<double>& args, int processors, cudaStream_t stream);

}  // namespace athanor::cuda
