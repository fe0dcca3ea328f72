// The emulated GPU finds what a real one would hide: each kernel here breaks a rule on purpose.
#include <gtest/gtest.h>

#include <bit>
#include <string>
#include <vector>

#include "src/backend/cuda/launch.cuh"
#include "src/backend/cuda/wgmma.cuh"

namespace athanor::cuda {
namespace {

class EmulationTest : public testing::Test {
 protected:
  EmulationTest() { EXPECT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess); }
  ~EmulationTest() override { cudaStreamDestroy(stream_); }

  int* device_ints(std::size_t count) {
    void* data = nullptr;
    EXPECT_EQ(cudaMalloc(&data, count * sizeof(int)), cudaSuccess);
    return static_cast<int*>(data);
  }
  std::vector<int> read(const int* from, std::size_t count) {
    std::vector<int> values(count);
    cudaMemcpyAsync(values.data(), from, count * sizeof(int), cudaMemcpyDeviceToHost, stream_);
    EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
    return values;
  }
  /// What the next wait says.
  std::string failure() {
    const cudaError_t status = cudaStreamSynchronize(stream_);
    return status == cudaSuccess ? "" : cudaGetErrorString(status);
  }

  cudaStream_t stream_ = nullptr;
};
using EmulationDeathTest = EmulationTest;

__global__ void reverse(int* values) {
  __shared__ int kept[96];
  const unsigned t = threadIdx.x;
  kept[t] = values[blockIdx.x * blockDim.x + t];
  __syncthreads();
  values[blockIdx.x * blockDim.x + t] = kept[blockDim.x - 1 - t];
}

__global__ void add_up(int* sums, const int* values) {
  int* parts = dynamic_shared<int>();
  int sum = values[threadIdx.x];
  for (int by = 16; by > 0; by /= 2) sum += __shfl_xor_sync(0xffffffffU, sum, by);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x < 32) {
    const unsigned odd = __ballot_sync(0xffffffffU, static_cast<int>(threadIdx.x) & 1);
    if (threadIdx.x == 0) {
      sums[0] = parts[0] + parts[1];
      sums[1] = static_cast<int>(odd);
    }
  }
}

__global__ void exchange_lanes(int* out) {
  int all[32];
  const int mine = static_cast<int>(threadIdx.x) * 3;
  emulation::exchange(&mine, sizeof(mine), all);
  out[threadIdx.x] = all[31 - threadIdx.x];
}

__global__ void exit_before_a_barrier() {
  if (threadIdx.x == 5) return;
  __syncthreads();
}
__global__ void wait_at_two_barriers() {
  if (threadIdx.x < 32)
    __syncthreads();
  else
    __syncthreads();
}
__global__ void shuffle_by_half_a_warp() {
  if (threadIdx.x < 16) __shfl_sync(0xffffffffU, 1, 0);
}
__global__ void write_behind_shared(int by) { dynamic_shared<int>()[by] = 1; }

/// Thread 0 arrives so often; the others wait for the phase.
__global__ void wait_for_a_phase(int expected, int arrivals) {
  auto& barrier = *reinterpret_cast<TileBarrier*>(dynamic_shared_tiles());
  if (threadIdx.x == 0) {
    barrier_init(barrier, expected);
    barrier_init_done();
  }
  __syncthreads();
  if (threadIdx.x == 0)
    for (int i = 0; i < arrivals; ++i) barrier_arrive(barrier);
  else
    barrier_wait(barrier, 0);
}

/// Rows of a, all ones, times columns of b, all twos, of a depth of 16: read before and after the wait for them.
__global__ void multiply_ones_by_twos(float* sums) {
  unsigned char* const tiles = dynamic_shared_tiles();
  constexpr std::uint32_t kOnes = 0x3f803f80, kTwos = 0x40004000;
  for (int i = static_cast<int>(threadIdx.x); i < 128 * kTileRowBytes / 4; i += kWarpgroup)
    reinterpret_cast<std::uint32_t*>(tiles)[i] = i < 64 * kTileRowBytes / 4 ? kOnes : kTwos;
  fence_for_copies_and_products();
  __syncthreads();
  float d[16] = {};
  products_begin();
  WarpgroupProduct<32>::multiply<false, false>(d, Operand::by_edge(tiles), Operand::by_edge(tiles + 64 * kTileRowBytes),
                                               false);
  products_commit();
  const float early = d[0];
  products_wait<0>();
  if (threadIdx.x == 0) {
    sums[0] = early;
    sums[1] = d[15];
  }
}

// Promise: barriers, warp operations and shared memory do what CUDA's do.
TEST_F(EmulationTest, RunsBlocksOfThreads) {
  int* values = device_ints(192);
  std::vector<int> host(192);
  for (int i = 0; i < 192; ++i) host[static_cast<std::size_t>(i)] = i;
  cudaMemcpyAsync(values, host.data(), 192 * sizeof(int), cudaMemcpyHostToDevice, stream_);
  EXPECT_EQ(launch(reverse, {2, 96}, stream_, values), cudaSuccess);
  const std::vector<int> turned = read(values, 192);
  for (std::size_t i = 0; i < 192; ++i)
    EXPECT_EQ(turned[i], i < 96 ? 95 - static_cast<int>(i) : 287 - static_cast<int>(i));

  int* sums = device_ints(32);
  EXPECT_EQ(launch(add_up, {1, 64, 8}, stream_, sums, values), cudaSuccess);
  EXPECT_EQ(read(sums, 2), (std::vector<int>{64 * 95 - 63 * 32, static_cast<int>(0xaaaaaaaaU)}));
  EXPECT_EQ(launch(exchange_lanes, {1, 32}, stream_, sums), cudaSuccess);
  EXPECT_EQ(read(sums, 2), (std::vector<int>{93, 90}));
  cudaFree(sums);
  cudaFree(values);
}

// Promise: a kernel runs only when its stream is waited for.
TEST_F(EmulationTest, WorkIsLate) {
  int* values = device_ints(1);
  int early = 7;
  cudaMemsetAsync(values, 0, sizeof(int), stream_);
  cudaMemcpyAsync(&early, values, sizeof(int), cudaMemcpyDeviceToHost, stream_);
  EXPECT_EQ(early, 7);
  EXPECT_EQ(failure(), "");
  EXPECT_EQ(early, 0);
  cudaFree(values);
}

// Promise: threads that part ways at a barrier or in a warp are told with both places, and the device goes on.
TEST_F(EmulationTest, TellsOfDivergence) {
  EXPECT_EQ(launch(exit_before_a_barrier, {1, 64}, stream_), cudaSuccess);
  const std::string exited = failure();
  EXPECT_NE(exited.find("thread 5 has exited"), std::string::npos) << exited;
  EXPECT_NE(exited.find("emulation_test.cpp:"), std::string::npos) << exited;

  EXPECT_EQ(launch(wait_at_two_barriers, {1, 64}, stream_), cudaSuccess);
  const std::string two = failure();
  EXPECT_NE(two.find("thread 0 waits at a barrier at"), std::string::npos) << two;
  EXPECT_NE(two.find("but thread 32 waits at a barrier at"), std::string::npos) << two;

  EXPECT_EQ(launch(shuffle_by_half_a_warp, {1, 32}, stream_), cudaSuccess);
  const std::string half = failure();
  EXPECT_NE(half.find("but thread 16 has exited"), std::string::npos) << half;
  EXPECT_EQ(failure(), "");
}

// Promise: a phase of a barrier ends when all have arrived; one that never ends, and an arrival too many, are told.
TEST_F(EmulationTest, CountsArrivals) {
  EXPECT_EQ(launch(wait_for_a_phase, {1, 64, 1024}, stream_, 3, 3), cudaSuccess);
  EXPECT_EQ(failure(), "");
  EXPECT_EQ(launch(wait_for_a_phase, {1, 64, 1024}, stream_, 3, 2), cudaSuccess);
  const std::string never = failure();
  EXPECT_NE(never.find("nothing can go on: thread 1 waits for a condition at"), std::string::npos) << never;
  EXPECT_EQ(launch(wait_for_a_phase, {1, 64, 1000}, stream_, 1, 1), cudaSuccess);
  const std::string askew = failure();
  EXPECT_NE(askew.find("not aligned"), std::string::npos) << askew;
}

// Promise: sums of a warpgroup's products are there after the wait for them and not before.
TEST_F(EmulationTest, ProductsAreLate) {
  int* sums = device_ints(2);
  EXPECT_EQ(launch(multiply_ones_by_twos, {1, 128, 128 * 128}, stream_, reinterpret_cast<float*>(sums)), cudaSuccess);
  EXPECT_EQ(read(sums, 2), (std::vector<int>{0, std::bit_cast<int>(32.0F)}));
  cudaFree(sums);
}

// Promise: a write a little behind the dynamic shared memory is told, one far behind kills.
TEST_F(EmulationTest, TellsOfWritesBehindSharedMemory) {
  EXPECT_EQ(launch(write_behind_shared, {1, 1, 12}, stream_, 3), cudaSuccess);
  EXPECT_NE(failure().find("wrote behind its dynamic shared memory"), std::string::npos);
}
TEST_F(EmulationDeathTest, WritingFarBehindSharedMemoryDies) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        launch(write_behind_shared, {1, 1, 12}, stream_, 32);
        cudaStreamSynchronize(stream_);
      },
      "");
}

// Promise: host code that looks into device memory dies.
TEST_F(EmulationDeathTest, ReadingDeviceMemoryOnTheHostDies) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const volatile int* values = device_ints(1);
  EXPECT_DEATH(std::printf("%d", *values), "");
  cudaFree(const_cast<int*>(values));
}

// Promise: shapes no GPU accepts are refused at the launch.
TEST_F(EmulationTest, RefusesImpossibleShapes) {
  EXPECT_EQ(launch(exit_before_a_barrier, {0, 32}, stream_), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(exit_before_a_barrier, {1, 1025}, stream_), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(exit_before_a_barrier, {1, 32, 300000}, stream_), cudaErrorInvalidConfiguration);
}

}  // namespace
}  // namespace athanor::cuda
