#include "src/backend/cuda/stable_sort.cuh"

#include "src/backend/cuda/device.cuh"

namespace athanor::cuda {
namespace {

constexpr unsigned kTile = static_cast<unsigned>(kSortTile);

__device__ std::int32_t place_at(const SortPass& pass, std::int64_t i) {
  return pass.from ? pass.from[i] : static_cast<std::int32_t>(i);
}
__device__ std::int32_t bucket_at(const SortPass& pass, std::int32_t place) {
  const std::int32_t key = pass.keys[place];
  return key < 0 || key >= pass.limit ? pass.buckets - 1 : key >> pass.shift & pass.mask;
}

/// counts[bucket * tiles + tile] = keys of a tile in a bucket.
__global__ void count_kernel(std::int32_t* counts, SortPass pass) {
  auto* of_bucket = dynamic_shared<std::int32_t>();
  for (std::int32_t b = static_cast<std::int32_t>(threadIdx.x); b < pass.buckets;
       b += static_cast<std::int32_t>(blockDim.x))
    of_bucket[b] = 0;
  __syncthreads();
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kTile + threadIdx.x;
  if (i < pass.count) atomicAdd(&of_bucket[bucket_at(pass, place_at(pass, i))], 1);
  __syncthreads();
  for (std::int32_t b = static_cast<std::int32_t>(threadIdx.x); b < pass.buckets;
       b += static_cast<std::int32_t>(blockDim.x))
    counts[static_cast<std::int64_t>(b) * gridDim.x + blockIdx.x] = of_bucket[b];
}

/// Sums of all counts before each, in place; one block.
__global__ void scan_kernel(std::int32_t* counts, std::int64_t count, std::int32_t* begin_of, std::int64_t tiles) {
  __shared__ std::int32_t of_thread[1024];
  const std::int64_t stretch = (count + blockDim.x - 1) / blockDim.x;
  const std::int64_t begin = stretch * threadIdx.x, end = begin + stretch < count ? begin + stretch : count;
  std::int32_t sum = 0;
  for (std::int64_t i = begin; i < end; ++i) sum += counts[i];
  of_thread[threadIdx.x] = sum;
  __syncthreads();
  for (unsigned by = 1; by < blockDim.x; by *= 2) {
    const std::int32_t before = threadIdx.x >= by ? of_thread[threadIdx.x - by] : 0;
    __syncthreads();
    of_thread[threadIdx.x] += before;
    __syncthreads();
  }
  sum = of_thread[threadIdx.x] - sum;
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int32_t own = counts[i];
    counts[i] = sum;
    if (begin_of && i % tiles == 0) begin_of[i / tiles] = sum;
    sum += own;
  }
}

__global__ void place_kernel(std::int32_t* order, std::int32_t* place_of, const std::int32_t* begins, SortPass pass) {
  __shared__ std::int32_t buckets[kTile];
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kTile + threadIdx.x;
  const std::int32_t place = i < pass.count ? place_at(pass, i) : 0;
  const std::int32_t bucket = i < pass.count ? bucket_at(pass, place) : -1;
  buckets[threadIdx.x] = bucket;
  __syncthreads();
  if (i >= pass.count) return;
  std::int32_t to = begins[static_cast<std::int64_t>(bucket) * gridDim.x + blockIdx.x];
  for (unsigned t = 0; t < threadIdx.x; ++t) to += buckets[t] == bucket ? 1 : 0;
  order[to] = place;
  if (place_of) place_of[place] = to;
}

}  // namespace

cudaError_t launch_sort_pass(std::int32_t* order, std::int32_t* place_of, std::int32_t* begin_of,
                             std::int32_t* workspace, const SortPass& pass, cudaStream_t stream) {
  const std::int64_t tiles = packs_of(pass.count > 0 ? pass.count : 1, kSortTile);
  const auto blocks = static_cast<unsigned>(tiles);
  cudaError_t status =
      launch(count_kernel, {blocks, kTile, static_cast<std::size_t>(pass.buckets) * 4}, stream, workspace, pass);
  if (status != cudaSuccess) return status;
  status = launch(scan_kernel, {1, 1024}, stream, workspace, tiles * pass.buckets, begin_of, tiles);
  if (status != cudaSuccess) return status;
  return launch(place_kernel, {blocks, kTile}, stream, order, place_of, workspace, pass);
}

}  // namespace athanor::cuda
