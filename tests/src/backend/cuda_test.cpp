// The parts of the CUDA back end: copies there and back, conversions, host work in stream order, and products against
// f64 loops. Skips where there is no GPU, saying why; with ATHANOR_REQUIRE_GPU=1 that is a failure.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "src/backend/cuda/cuda_backend.hpp"
#include "src/backend/cuda/cuda_device.hpp"
#include "src/backend/cuda/cuda_stream.hpp"
#include "src/backend/cuda/gemm.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"

namespace athanor {
namespace {

class CudaTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string_view reason;
    if (cuda::device_count(&reason) > 0) {
      ops_ = std::make_unique<cuda::CudaBackend>(0);
      stream_ = std::make_unique<cuda::CudaStream>(0);
      return;
    }
    const char* required = std::getenv("ATHANOR_REQUIRE_GPU");
    if (required && std::string_view(required) == "1") FAIL() << "ATHANOR_REQUIRE_GPU=1, but no GPU: " << reason;
    GTEST_SKIP() << "skipped for want of a GPU: " << reason;
  }

  Tensor empty(const Shape& shape, DType dtype) { return ops_->empty(shape, dtype); }
  Tensor upload(const std::vector<double>& values, const Shape& shape, DType dtype) {
    Tensor wide = empty(shape, DType::f64), tensor = empty(shape, dtype);
    ops_->upload(wide, std::as_bytes(std::span(values)), *stream_);
    ops_->copy(tensor, wide, *stream_);
    return tensor;
  }
  std::vector<double> read(const Tensor& tensor) {
    Tensor wide = empty(tensor.shape(), DType::f64);
    ops_->copy(wide, tensor, *stream_);
    std::vector<double> values(static_cast<std::size_t>(tensor.numel()));
    ops_->download(std::as_writable_bytes(std::span(values)), wide, *stream_);
    stream_->synchronize();
    return values;
  }
  static std::vector<double> random(std::int64_t count, std::uint64_t stream) {
    const Philox random(5, RandomPurpose::test, stream);
    std::vector<double> values(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.uniform(i) - 0.5;
    return values;
  }

  std::unique_ptr<cuda::CudaBackend> ops_;
  std::unique_ptr<cuda::CudaStream> stream_;
};

// Promise: bytes come back as they went, also when they take many turns of the staging buffers.
TEST_F(CudaTest, UploadThenDownloadIsTheIdentity) {
  for (const std::int64_t count : {std::int64_t{1}, std::int64_t{1000}, std::int64_t{3'500'001}}) {
    const std::vector<double> sent = random(count, 1);
    EXPECT_EQ(read(upload(sent, {count}, DType::f64)), sent);
  }
}

// Promise: conversions and fills hold what the CPU's types hold.
TEST_F(CudaTest, ConversionsRoundAsOnTheCpu) {
  const std::vector<double> values = random(777, 2);
  std::vector<double> as_f32, as_bf16;
  for (const double value : values) {
    as_f32.push_back(static_cast<float>(value));
    as_bf16.push_back(static_cast<float>(bf16(static_cast<float>(value))));
  }
  EXPECT_EQ(read(upload(values, {777}, DType::f32)), as_f32);
  EXPECT_EQ(read(upload(values, {777}, DType::bf16)), as_bf16);
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    Tensor filled = empty({333}, dtype);
    ops_->fill(filled, -1.5, *stream_);
    EXPECT_EQ(read(filled), std::vector<double>(333, -1.5));
  }
}

// Promise: host work runs in stream order; its exception reaches synchronize() and the stream works on.
TEST_F(CudaTest, HostWorkRunsInOrderAndItsFailureIsThrown) {
  std::vector<int> order;
  for (const int i : {1, 2, 3}) stream_->enqueue_host([&order, i] { order.push_back(i); });
  stream_->synchronize();
  EXPECT_EQ(order, (std::vector{1, 2, 3}));

  stream_->enqueue_host([] { throw Error("as planned"); });
  stream_->enqueue_host([&order] { order.push_back(4); });
  EXPECT_THROW(stream_->synchronize(), Error);
  EXPECT_EQ(order.size(), 3U) << "work after a failure must not run";
  stream_->enqueue_host([&order] { order.push_back(5); });
  stream_->synchronize();
  EXPECT_EQ(order.back(), 5);
}

// Promise: work after wait() sees what was enqueued before the other stream's mark.
TEST_F(CudaTest, EventsOrderStreams) {
  cuda::CudaStream other(0);
  cuda::CudaEvent event(0);
  const std::int64_t count = 1 << 22;
  Tensor filled = empty({count}, DType::f64), copied = empty({count}, DType::f64);
  ops_->fill(filled, 1.0, *stream_);
  ops_->fill(filled, 2.0, *stream_);
  stream_->record(event);
  other.wait(event);
  ops_->copy(copied, filled, other);
  other.synchronize();
  EXPECT_EQ(read(copied), std::vector<double>(static_cast<std::size_t>(count), 2.0));
}

// Promise: C = op(A) op(B) (+ C) in every type and transposition, on odd sizes and on views that begin anywhere.
TEST_F(CudaTest, ProductsAgreeWithTheReference) {
  cuda::MatrixProducts products(0);
  for (const auto& [in, out] : {std::pair{DType::f64, DType::f64},
                                {DType::f32, DType::f32},
                                {DType::bf16, DType::bf16},
                                {DType::bf16, DType::f32}})
    for (const auto& [m, n, k] : {std::array<std::int64_t, 3>{1, 8, 16}, {67, 48, 136}, {256, 320, 512}, {33, 17, 19}})
      for (const auto ta : {Transpose::no, Transpose::yes})
        for (const auto tb : {Transpose::no, Transpose::yes})
          for (const bool accumulate : {false, true}) {
            const Tensor a = upload(random(m * k, 1), ta == Transpose::yes ? Shape{k, m} : Shape{m, k}, in);
            const Tensor b = upload(random(n * k, 2), tb == Transpose::yes ? Shape{n, k} : Shape{k, n}, in);
            Tensor c = upload(random((m + 1) * n, 3), {m + 1, n}, out).rows(1, m + 1);
            const std::vector<double> va = read(a), vb = read(b), before = read(c);

            products.gemm(c, a, ta, b, tb, accumulate, false, *stream_);

            const std::vector<double> found = read(c);
            // bf16 results round once (8 bits); f32 sums of k products of halves keep about 22 bits.
            const double size = std::sqrt(static_cast<double>(k));
            const double bound = out == DType::bf16 ? 0.25 * size * 0x1p-7 : in == DType::f64 ? 1e-12 : 1e-6 * size;
            for (std::int64_t i = 0; i < m; ++i)
              for (std::int64_t j = 0; j < n; ++j) {
                const auto at = static_cast<std::size_t>(i * n + j);
                double wanted = accumulate ? before[at] : 0;
                for (std::int64_t l = 0; l < k; ++l)
                  wanted += va[static_cast<std::size_t>(ta == Transpose::yes ? l * m + i : i * k + l)] *
                            vb[static_cast<std::size_t>(tb == Transpose::yes ? j * k + l : l * n + j)];
                ASSERT_NEAR(found[at], wanted, bound)
                    << to_string(in) << " into " << to_string(out) << " [" << m << ", " << k << "] times [" << k << ", "
                    << n << "] at " << i << ", " << j;
              }
          }
}

// Promise: rows kept alike have the same bits in a product of many rows and in one of few.
TEST_F(CudaTest, RowsKeptAlike) {
  cuda::MatrixProducts products(0);
  const std::int64_t rows = 700, n = 320, k = 512;
  for (const DType dtype : {DType::bf16, DType::f32})
    for (const auto tb : {Transpose::no, Transpose::yes}) {
      const Tensor a = upload(random(rows * k, 1), {rows, k}, dtype);
      const Tensor b = upload(random(n * k, 2), tb == Transpose::yes ? Shape{n, k} : Shape{k, n}, dtype);
      Tensor all = empty({rows, n}, dtype);
      products.gemm(all, a, Transpose::no, b, tb, false, true, *stream_);
      for (const auto& [first, end] : {std::pair<std::int64_t, std::int64_t>{3, 4}, {100, 133}, {0, 300}}) {
        Tensor few = empty({end - first, n}, dtype);
        products.gemm(few, a.rows(first, end), Transpose::no, b, tb, false, true, *stream_);
        EXPECT_EQ(read(few), read(all.rows(first, end))) << to_string(dtype) << " rows " << first << " to " << end;
      }
    }
}

// Promise: what does not fit is refused with an Error.
TEST_F(CudaTest, RefusesWhatDoesNotFit) {
  cuda::MatrixProducts products(0);
  const Tensor a = empty({4, 5}, DType::f32), b = empty({6, 4}, DType::f32);
  Tensor c = empty({4, 6}, DType::f32), narrow = empty({3}, DType::f32);
  EXPECT_THROW(products.gemm(c, a, Transpose::no, b, Transpose::yes, false, false, *stream_), Error);
  EXPECT_THROW(ops_->copy(narrow, a, *stream_), Error);
  EXPECT_THROW(cuda::check(cudaErrorInvalidValue, "a test"), Error);
}

}  // namespace
}  // namespace athanor
