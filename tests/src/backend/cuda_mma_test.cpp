// The warp's building blocks of src/backend/cuda/mma.cuh and shared_tile.cuh against plain loops, in kernels of their
// own on the emulated GPU: fragments land where the products expect them.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "src/backend/cuda/launch.cuh"
#include "src/backend/cuda/shared_tile.cuh"
#include "src/base/rng.hpp"

namespace athanor {
namespace {

using cuda::FragmentA;
using cuda::FragmentB2;
using cuda::SharedTile;

/// How a factor is stored: along the depth of the product, or across it.
struct Storage {
  bool a_by_depth, b_by_depth, whole;
};

constexpr int kSide = 64, kUsed = 56;  ///< a padded tile and what of it is filled

/// c[64 x 64] = a * b by one warp, both of depth 64, from tiles in shared memory.
__global__ void product_kernel(const bf16* a, const bf16* b, float* c, Storage storage) {
  bf16* memory = cuda::dynamic_shared<bf16>();
  const SharedTile<kSide, kSide> a_tile{memory}, b_tile{memory + kSide * kSide};
  const auto rows_of = [&](const bf16* from) {
    return [=](int row) { return row < kUsed ? from + row * kUsed : nullptr; };
  };
  a_tile.load<32>(rows_of(a), kUsed, storage.whole);
  b_tile.load<32>(rows_of(b), kUsed, storage.whole);
  cuda::copies_commit();
  cuda::copies_wait<0>();
  __syncwarp();
  const int lane = static_cast<int>(cuda::lane_id());
  for (int m = 0; m < kSide; m += 16)
    for (int n = 0; n < kSide; n += 16) {
      float even[4] = {}, odd[4] = {};
      for (int k = 0; k < kSide; k += 16) {
        const FragmentA rows = storage.a_by_depth ? a_tile.a_transposed(k, m) : a_tile.a(m, k);
        const FragmentB2 columns = storage.b_by_depth ? b_tile.b(k, n) : b_tile.b_transposed(n, k);
        cuda::mma_pair(even, odd, rows, columns);
      }
      for (int i = 0; i < 4; ++i) {
        const int row = m + lane / 4 + i / 2 * 8, column = n + 2 * (lane % 4) + i % 2;
        c[row * kSide + column] = even[i];
        c[row * kSide + column + 8] = odd[i];
      }
    }
}

/// d = (a * b^T) * b, the first product going into the second as it lies in registers.
__global__ void chained_kernel(const bf16* a, const bf16* b, float* d) {
  bf16* memory = cuda::dynamic_shared<bf16>();
  const SharedTile<16, kSide> a_tile{memory};
  const SharedTile<16, kSide> b_tile{memory + 16 * kSide};
  a_tile.load<32>([&](int row) { return a + row * kSide; }, kSide, true);
  b_tile.load<32>([&](int row) { return b + row * kSide; }, kSide, true);
  cuda::copies_commit();
  cuda::copies_wait<0>();
  __syncwarp();
  const int lane = static_cast<int>(cuda::lane_id());
  float even[4] = {}, odd[4] = {};
  for (int k = 0; k < kSide; k += 16) cuda::mma_pair(even, odd, a_tile.a(0, k), b_tile.b_transposed(0, k));
  const FragmentA rows = cuda::as_a(even, odd);
  for (int n = 0; n < kSide; n += 16) {
    float left[4] = {}, right[4] = {};
    cuda::mma_pair(left, right, rows, b_tile.b(0, n));
    for (int i = 0; i < 4; ++i) {
      const int at = (lane / 4 + i / 2 * 8) * kSide + n + 2 * (lane % 4) + i % 2;
      d[at] = left[i];
      d[at + 8] = right[i];
    }
  }
}

/// A stream for one test.
struct TestStream {
  TestStream() { EXPECT_EQ(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking), cudaSuccess); }
  ~TestStream() { cudaStreamDestroy(handle); }
  TestStream(const TestStream&) = delete;
  TestStream& operator=(const TestStream&) = delete;
  cudaStream_t handle = nullptr;
};

template <class T>
class DeviceArray {
 public:
  DeviceArray(std::size_t count, const TestStream& stream) : count_(count), stream_(stream.handle) {
    void* data = nullptr;
    EXPECT_EQ(cudaMalloc(&data, count * sizeof(T)), cudaSuccess);
    data_ = static_cast<T*>(data);
  }
  DeviceArray(const std::vector<T>& values, const TestStream& stream) : DeviceArray(values.size(), stream) {
    EXPECT_EQ(cudaMemcpyAsync(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice, stream_), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  T* data() const { return data_; }
  std::vector<T> read() const {
    std::vector<T> values(count_);
    EXPECT_EQ(cudaMemcpyAsync(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost, stream_), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess) << cudaGetErrorString(cudaGetLastError());
    return values;
  }

 private:
  std::size_t count_;
  cudaStream_t stream_;
  T* data_ = nullptr;
};

std::vector<bf16> random(int count, std::uint64_t stream) {
  const Philox random(5, RandomPurpose::test, stream);
  std::vector<bf16> values;
  for (int i = 0; i < count; ++i)
    values.emplace_back(static_cast<float>(random.uniform(static_cast<std::uint64_t>(i)) - 0.5));
  return values;
}

double at(const std::vector<bf16>& values, int i) {
  return static_cast<double>(static_cast<float>(values[static_cast<std::size_t>(i)]));
}

// Promise: products of tiles are those of the matrices in every storage, by 16-byte copies and element by element, and
// what pads a tile is zero. Bound: f32 rounds a sum of 56 products of halves after every 16.
TEST(Mma, ProductsOfTiles) {
  const TestStream stream;
  const std::vector<bf16> a = random(kUsed * kUsed, 1), b = random(kUsed * kUsed, 2);
  const DeviceArray<bf16> on_a(a, stream), on_b(b, stream);
  for (const bool a_by_depth : {false, true})
    for (const bool b_by_depth : {false, true})
      for (const bool whole : {false, true}) {
        const DeviceArray<float> on_c(kSide * kSide, stream);
        ASSERT_EQ(cuda::launch(product_kernel, {dim3(1), dim3(32), 2 * sizeof(bf16) * kSide * kSide}, stream.handle,
                               on_a.data(), on_b.data(), on_c.data(), Storage{a_by_depth, b_by_depth, whole}),
                  cudaSuccess);
        const std::vector<float> c = on_c.read();
        for (int m = 0; m < kSide; ++m)
          for (int n = 0; n < kSide; ++n) {
            double wanted = 0;
            for (int k = 0; m < kUsed && n < kUsed && k < kUsed; ++k)
              wanted +=
                  at(a, a_by_depth ? k * kUsed + m : m * kUsed + k) * at(b, b_by_depth ? k * kUsed + n : n * kUsed + k);
            ASSERT_NEAR(c[static_cast<std::size_t>(m * kSide + n)], wanted, 1e-6)
                << m << ", " << n << ", by depth " << a_by_depth << b_by_depth << ", whole " << whole;
          }
      }
}

// Promise: a product's registers are the next one's left factor, rounded to bf16 (8 bits).
TEST(Mma, AProductIsTheNextOnesFactor) {
  const TestStream stream;
  const std::vector<bf16> a = random(16 * kSide, 3), b = random(16 * kSide, 4);
  const DeviceArray<bf16> on_a(a, stream), on_b(b, stream);
  const DeviceArray<float> on_d(16 * kSide, stream);
  ASSERT_EQ(cuda::launch(chained_kernel, {dim3(1), dim3(32), 2 * sizeof(bf16) * 16 * kSide}, stream.handle, on_a.data(),
                         on_b.data(), on_d.data()),
            cudaSuccess);
  const std::vector<float> d = on_d.read();
  for (int m = 0; m < 16; ++m)
    for (int n = 0; n < kSide; ++n) {
      double wanted = 0;
      for (int j = 0; j < 16; ++j) {
        double s = 0;
        for (int k = 0; k < kSide; ++k) s += at(a, m * kSide + k) * at(b, j * kSide + k);
        wanted += s * at(b, j * kSide + n);
      }
      ASSERT_NEAR(d[static_cast<std::size_t>(m * kSide + n)], wanted, 16 * 0x1p-9) << m << ", " << n;
    }
}

// Promise: what is rounded, widened and raised is what the host's bf16 and exp2 give.
TEST(Mma, RoundsAsTheHost) {
  for (const float value : {0.0F, -1.0F, 1.00390625F, 1.01171875F, 3.14159265F, -1e-3F}) {
    EXPECT_EQ(cuda::to_bf16(value).bits, bf16(value).bits);
    EXPECT_EQ(cuda::pack_bf16(1.0F, value) >> 16, bf16(value).bits);
    EXPECT_EQ(cuda::to_float(bf16(value)), static_cast<float>(bf16(value)));
  }
  EXPECT_EQ(cuda::exp2_fast(-HUGE_VALF), 0.0F);
  EXPECT_EQ(cuda::exp2_fast(0.0F), 1.0F);
}

}  // namespace
}  // namespace athanor
