// What the attention kernels of every type share: units of work, ranges of keys, and how results over stretches of keys
// are merged. Law: products that feed a sum are written as fma, so that no kernel rounds them otherwise than another.
#pragma once

#include <cuda_runtime.h>

#include "src/backend/cuda/attention_kernels.cuh"
#include "src/backend/cuda/mma.cuh"

namespace athanor::cuda {

inline constexpr float kLog2E = 1.4426950408889634F;

/// Rows [begin, end) of tokens, heads [head, head + heads) of key/value head g, keys from `origin` (QueryTile).
struct Unit {
  int begin, end, origin, g, head, heads, split;
};

/// Takes the next number of a counter, the same for the whole block. Every thread calls.
__device__ inline int take_unit(int* counter, int& shared_slot) {
  __syncthreads();
  if (threadIdx.x == 0) shared_slot = atomicAdd(counter, 1);
  __syncthreads();
  return shared_slot;
}

/// The next tile, head and split; false when none is left. Long tiles (late rows) come first, so that blocks end
/// together, and tiles of one head follow each other, so that they share its keys in the cache.
template <class T>
__device__ bool next_unit(const AttendArgs<T>& a, int& shared_slot, Unit& unit) {
  const int group = a.num_heads / a.num_kv_heads;
  const int tiles_of_group = (group + a.heads_per_tile - 1) / a.heads_per_tile;
  const int splits = a.parallel_splits > 0 ? a.parallel_splits : 1;
  const int tiles = a.tiles.counts[TileLists::kQueryTiles];
  const int number = take_unit(a.tiles.counts + TileLists::kNextUnit, shared_slot);
  const int by_split = number / splits;
  const int heads = by_split / tiles;
  if (heads >= tiles_of_group * a.num_kv_heads) return false;
  const int index = tiles - 1 - by_split % tiles, first = heads % tiles_of_group * a.heads_per_tile;
  const QueryTile tile = a.tiles.query_tiles[index];
  unit = {tile.begin, a.tiles.query_tiles[index + 1].begin, tile.origin, heads / tiles_of_group, 0, 0, number % splits};
  unit.head = unit.g * group + first;
  unit.heads = group - first < a.heads_per_tile ? group - first : a.heads_per_tile;
  return true;
}

/// A tile of queries [begin, end) of one head, keys counted from row `origin`.
struct QueryUnit {
  int begin, end, origin, head;
};

/// Tile of queries `number`; false when there are not so many. Long tiles (late rows) come first.
__device__ inline bool query_unit(const TileLists& lists, int num_heads, int number, QueryUnit& unit) {
  const int tiles = lists.counts[TileLists::kQueryTiles];
  if (tiles == 0 || number / tiles >= num_heads) return false;
  const int index = tiles - 1 - number % tiles;
  unit = {lists.query_tiles[index].begin, lists.query_tiles[index + 1].begin, lists.query_tiles[index].origin,
          number / tiles};
  return true;
}

/// One row of a unit: its element in [T, H], -1 where the tile has no such row, and the keys [lo, hi) that it sees,
/// counted from the origin.
struct UnitRow {
  std::int64_t index;
  int lo, hi;
};

template <class T>
__device__ UnitRow unit_row(const AttendArgs<T>& a, const Unit& unit, int row) {
  const int token = unit.begin + row / a.heads_per_tile, head = row % a.heads_per_tile;
  if (token >= unit.end || head >= unit.heads) return {-1, 0, 0};
  UnitRow out{static_cast<std::int64_t>(token) * a.num_heads + unit.head + head, 0, 0};
  if (a.key_begin_T) out.lo = a.key_begin_T[token] - unit.origin;
  if (a.lengths_R)
    out.hi = a.lengths_R[token];
  else
    out.hi = (a.key_end_T ? a.key_end_T[token] : token + 1) - unit.origin;
  return out;
}

/// The row of k and v that holds key `key` of a unit.
template <bool kPaged>
__device__ inline std::int64_t key_row(const std::int32_t* pages, int page_bits, int origin, int key) {
  if constexpr (kPaged) {
    const std::int64_t page = pages[origin + (key >> page_bits)];
    return page << page_bits | (key & ((1 << page_bits) - 1));
  } else {
    return static_cast<std::int64_t>(origin) + key;
  }
}

/// Smallest lo, largest hi and what all rows that exist see: [largest lo, smallest hi).
struct KeyRange {
  int lo, hi, all_lo, all_hi;
};

/// Over the rows of a tile from their ranges in shared memory; a row with lo >= hi sees nothing. Every warp calls.
template <int kRows>
__device__ KeyRange range_of_rows(const int* lo, const int* hi) {
  constexpr int kNone = 0x7fffffff;
  KeyRange range{kNone, 0, 0, kNone};
  for (int row = static_cast<int>(lane_id()); row < kRows; row += 32) {
    const bool sees = lo[row] < hi[row];
    if (sees && lo[row] < range.lo) range.lo = lo[row];
    if (sees && hi[row] > range.hi) range.hi = hi[row];
    if (lo[row] > range.all_lo) range.all_lo = lo[row];
    if (hi[row] < range.all_hi) range.all_hi = hi[row];
  }
  for (int step = 16; step > 0; step /= 2) {
    range.lo = min(range.lo, __shfl_xor_sync(0xffffffffU, range.lo, step));
    range.hi = max(range.hi, __shfl_xor_sync(0xffffffffU, range.hi, step));
    range.all_lo = max(range.all_lo, __shfl_xor_sync(0xffffffffU, range.all_lo, step));
    range.all_hi = min(range.all_hi, __shfl_xor_sync(0xffffffffU, range.all_hi, step));
  }
  if (range.lo > range.hi) range.lo = range.hi;
  return range;
}

__device__ inline float multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
__device__ inline double multiply_add(double a, double b, double c) { return fma(a, b, c); }
__device__ inline float exponential(float x) { return expf(x); }
__device__ inline double exponential(double x) { return exp(x); }
__device__ inline float logarithm(float x) { return logf(x); }
__device__ inline double logarithm(double x) { return log(x); }

template <class Acc>
__device__ inline Acc minus_infinity() {
  return -static_cast<Acc>(__int_as_float(0x7f800000));
}

/// Softmax sums over two stretches of keys, the earlier one and the later one, to one: with maxima m of the scores,
/// sum = earlier * before + later * after. An empty stretch (m of -inf, sums of 0) changes no bit of the other.
template <class Acc>
struct Fold {
  Acc top, before, after;
  /// kExp2: scores are scaled for powers of two.
  template <bool kExp2>
  __device__ static Fold of(Acc top_before, Acc top_after, Acc scale) {
    Fold fold;
    fold.top = top_before > top_after ? top_before : top_after;
    const Acc base = fold.top == minus_infinity<Acc>() ? Acc{0} : fold.top;
    if constexpr (kExp2) {
      fold.before = exp2_fast((top_before - base) * scale);
      fold.after = exp2_fast((top_after - base) * scale);
    } else {
      fold.before = exponential((top_before - base) * scale);
      fold.after = exponential((top_after - base) * scale);
    }
    return fold;
  }
  __device__ Acc sum(Acc earlier, Acc later) const { return multiply_add(later, after, earlier * before); }
};

}  // namespace athanor::cuda
