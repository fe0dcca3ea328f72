// The lists of tiles that the attention kernels walk. One block scans the rows in order, a chunk at a time: the lists
// are in order of the rows, and a tile never crosses a document's border, so a document has the same tiles alone and
// among others.
#include "src/backend/cuda/attention_kernels.cuh"
#include "src/backend/cuda/launch.cuh"

namespace athanor::cuda {
namespace {

constexpr int kThreads = 512;

struct Sum {
  __device__ static int of(int a, int b) { return a + b; }
};
struct Largest {
  __device__ static int of(int a, int b) { return a > b ? a : b; }
};

/// Op over the values of threads 0 .. this one. Every thread calls.
template <class Op>
__device__ int scan_block(int value, int* scratch) {
  const int thread = static_cast<int>(threadIdx.x);
  scratch[thread] = value;
  __syncthreads();
  for (int step = 1; step < kThreads; step *= 2) {
    const int below = thread >= step ? scratch[thread - step] : 0;
    __syncthreads();
    if (thread >= step) scratch[thread] = value = Op::of(below, value);
    __syncthreads();
  }
  return value;
}

__device__ int key_end_of(const TileRequest& request, int t) {
  return request.key_end_T ? request.key_end_T[t] : t + 1;
}

__device__ bool begins_stretch(const TileRequest& request, int t) {
  if (t == 0) return true;
  if (request.slots_R) return request.slots_R[t] != request.slots_R[t - 1];
  return request.key_begin_T[t] >= key_end_of(request, t - 1);
}

__device__ int origin_of(const TileRequest& request, int t) {
  return request.slots_R ? request.slots_R[t] * request.pages_per_slot : request.key_begin_T[t];
}

__global__ void __launch_bounds__(kThreads) find_tiles_kernel(TileRequest request, TileLists lists) {
  __shared__ int scratch[kThreads];
  __shared__ int last[3];  // what the last thread of a chunk hands to the next chunk
  const int thread = static_cast<int>(threadIdx.x);

  int stretch_begin = 0, num_tiles = 0, num_stretches = 0;
  for (int first = 0; first < request.rows; first += kThreads) {
    const int t = first + thread;
    const bool valid = t < request.rows, begins = valid && begins_stretch(request, t);
    const int begin = scan_block<Largest>(begins ? t : stretch_begin, scratch);
    const bool tile = valid && (t - begin) % request.rows_per_tile == 0;
    const int tiles = num_tiles + scan_block<Sum>(tile ? 1 : 0, scratch);
    const int stretches = num_stretches + scan_block<Sum>(begins ? 1 : 0, scratch);
    if (begins) lists.stretches[stretches - 1] = {t, origin_of(request, t)};
    if (tile) lists.query_tiles[tiles - 1] = {t, origin_of(request, begin), stretches - 1};
    if (thread == kThreads - 1) {
      last[0] = begin;
      last[1] = tiles;
      last[2] = stretches;
    }
    __syncthreads();
    stretch_begin = last[0];
    num_tiles = last[1];
    num_stretches = last[2];
    __syncthreads();
  }
  if (thread == 0) {
    lists.query_tiles[num_tiles] = {request.rows, 0, 0};
    lists.stretches[num_stretches] = {request.rows, 0};
  }
  __syncthreads();

  int num_key_tiles = 0;
  for (int first = 0; lists.key_tiles && first < num_stretches; first += kThreads) {
    const int s = first + thread;
    int count = 0, origin = 0;
    if (s < num_stretches) {
      origin = lists.stretches[s].origin;
      const int keys = key_end_of(request, lists.stretches[s + 1].query_begin - 1) - origin;
      count = (keys + request.keys_per_tile - 1) / request.keys_per_tile;
    }
    const int end = num_key_tiles + scan_block<Sum>(count, scratch);
    for (int i = 0; i < count; ++i) lists.key_tiles[end - count + i] = {origin + i * request.keys_per_tile, s};
    if (thread == kThreads - 1) last[0] = end;
    __syncthreads();
    num_key_tiles = last[0];
    __syncthreads();
  }
  if (thread == 0) {
    lists.counts[TileLists::kQueryTiles] = num_tiles;
    lists.counts[TileLists::kStretches] = num_stretches;
    lists.counts[TileLists::kKeyTiles] = num_key_tiles;
    lists.counts[TileLists::kNextUnit] = 0;
    lists.counts[TileLists::kNextUnitOfQueries] = 0;
  }
}

}  // namespace

cudaError_t launch_find_tiles(const TileRequest& request, const TileLists& lists, cudaStream_t stream) {
  return launch(find_tiles_kernel, LaunchShape{dim3(1), dim3(kThreads), 0}, stream, request, lists);
}

}  // namespace athanor::cuda
