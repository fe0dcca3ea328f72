// What the backward kernels of every type share: which tiles there are, what a query sees, and delta.
#pragma once

#include <cuda_runtime.h>

#include "src/backend/cuda/attention_units.cuh"
#include "src/backend/cuda/launch.cuh"

namespace athanor::cuda {

/// A tile of keys [key, key_end) of key/value head g, with the queries [query_begin, query_end) that see any of them,
/// as tiles of kQueries counted from the stretch's first query.
struct KeyUnit {
  int key, key_end, g, first_query, query_end;
};

template <class T>
__device__ int key_end_of(const AttendBackwardArgs<T>& a, int t) {
  return a.key_end_T ? a.key_end_T[t] : t + 1;
}

/// The first of [begin, end) where holds(t), which once true stays true; else end.
template <class Holds>
__device__ int first_where(int begin, int end, Holds&& holds) {
  while (begin < end) {
    const int middle = begin + (end - begin) / 2;
    if (holds(middle))
      end = middle;
    else
      begin = middle + 1;
  }
  return begin;
}

/// Tile of keys `number`; false when there are not so many. Tiles of one head follow each other; early keys, which most
/// queries see, come first.
template <int kQueries, class T>
__device__ bool key_unit(const AttendBackwardArgs<T>& a, int number, KeyUnit& unit) {
  const int tiles = a.tiles.counts[TileLists::kKeyTiles];
  if (tiles == 0 || number / tiles >= a.num_kv_heads) return false;
  const KeyTile tile = a.tiles.key_tiles[number % tiles];
  const Stretch stretch = a.tiles.stretches[tile.stretch];
  const int stretch_end = a.tiles.stretches[tile.stretch + 1].query_begin;
  unit.key = tile.begin;
  unit.key_end = min(tile.begin + a.keys_per_tile, key_end_of(a, stretch_end - 1));
  unit.g = number / tiles;
  const int first = first_where(stretch.query_begin, stretch_end, [&](int t) { return key_end_of(a, t) > tile.begin; });
  unit.query_end = first_where(first, stretch_end, [&](int t) { return a.key_begin_T[t] >= unit.key_end; });
  unit.first_query = stretch.query_begin + (first - stretch.query_begin) / kQueries * kQueries;
  return true;
}

/// The next tile of keys; false when none is left. Every thread of the block calls.
template <int kQueries, class T>
__device__ bool next_key_unit(const AttendBackwardArgs<T>& a, int& shared_slot, KeyUnit& unit) {
  return key_unit<kQueries>(a, take_unit(a.tiles.counts + TileLists::kNextUnit, shared_slot), unit);
}

template <class T>
__device__ bool next_query_unit(const AttendBackwardArgs<T>& a, int& shared_slot, QueryUnit& unit) {
  return query_unit(a.tiles, a.num_heads, take_unit(a.tiles.counts + TileLists::kNextUnitOfQueries, shared_slot), unit);
}

__device__ inline float widened(bf16 value) { return to_float(value); }
__device__ inline float widened(float value) { return value; }
__device__ inline double widened(double value) { return value; }

/// What a query brings: log sum exp for powers of two, delta, and the keys [lo, hi) it sees; nothing where it is none.
struct Query {
  float lse, delta;
  int lo, hi;
};

__device__ inline Query query_of(const AttendBackwardArgs<bf16>& a, int t, int end, int head) {
  if (t >= end) return {0, 0, 0, 0};
  const std::int64_t row = static_cast<std::int64_t>(t) * a.num_heads + head;
  return {a.lse_TH[row] * kLog2E, a.delta_TH[row], a.key_begin_T[t], key_end_of(a, t)};
}

/// delta_TH = rowsum(d_o * o); a warp a row.
template <class T, int kThreads>
__global__ void __launch_bounds__(kThreads) row_dots_kernel(AttendBackwardArgs<T> a) {
  using Acc = typename AttendBackwardArgs<T>::Acc;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  if (row >= static_cast<std::int64_t>(a.num_tokens) * a.num_heads) return;  // the whole warp
  Acc sum = 0;
  for (int column = static_cast<int>(lane_id()); column < a.v_dim; column += 32)
    sum = multiply_add(widened(a.d_o[row * a.v_dim + column]), widened(a.o[row * a.v_dim + column]), sum);
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffU, sum, step);
  if (lane_id() == 0) a.delta_TH[row] = sum;
}

template <class T>
cudaError_t launch_row_dots(const AttendBackwardArgs<T>& args, cudaStream_t stream) {
  constexpr int kThreads = 256;
  const std::int64_t rows = static_cast<std::int64_t>(args.num_tokens) * args.num_heads;
  const auto blocks = static_cast<unsigned>((rows + kThreads / 32 - 1) / (kThreads / 32));
  return launch(row_dots_kernel<T, kThreads>, LaunchShape{dim3(blocks), dim3(kThreads), 0}, stream, args);
}

/// Both passes after delta; as many blocks as run at once on `processors`.
template <class T, class Keys, class Queries>
cudaError_t launch_passes(const AttendBackwardArgs<T>& args, int processors, const BackwardLaunch& shape, int threads,
                          Keys&& keys_kernel, Queries&& queries_kernel, cudaStream_t stream) {
  if (const cudaError_t status = launch_row_dots(args, stream); status != cudaSuccess) return status;
  const auto grid = [&](const TileLaunch& launch) {
    return dim3(static_cast<unsigned>(processors * launch.blocks_per_processor));
  };
  const auto block = dim3(static_cast<unsigned>(threads));
  if (const cudaError_t status =
          launch(keys_kernel, LaunchShape{grid(shape.keys), block, shape.keys.shared_bytes}, stream, args);
      status != cudaSuccess)
    return status;
  return launch(queries_kernel, LaunchShape{grid(shape.queries), block, shape.queries.shared_bytes}, stream, args);
}

}  // namespace athanor::cuda
