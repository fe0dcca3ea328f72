// What grouped products on CUDA promise beyond gemm_test.cpp: several tiles and many steps along the depth, rows past
// the last offset left alone, a row the same bits wherever it stands, per-head slices that cross tiles. bf16 runs as on
// Hopper, and with ATHANOR_EMULATION_CAPABILITY=8 as on GPUs before it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <ostream>
#include <vector>

#include "src/backend/cuda/cuda_backend.hpp"
#include "src/backend/cuda/cuda_stream.hpp"
#include "src/backend/cuda/grouped_gemm.hpp"
#include "src/backend/cuda/grouped_gemm_kernels.cuh"
#include "src/backend/cuda/per_head_gemm.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"

namespace athanor {
namespace {

using Values = std::vector<double>;
using Ids = std::vector<std::int32_t>;

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

struct Case {
  DType dtype;
  std::int64_t out, in;
  const char* name;
  friend std::ostream& operator<<(std::ostream& to, const Case& one) { return to << one.name; }
};

class CudaGroupedGemmTest : public testing::TestWithParam<Case> {
 protected:
  Tensor empty(const Shape& shape, DType dtype) { return ops_.empty(shape, dtype); }
  Tensor random(const Shape& shape, DType dtype, std::uint64_t stream, Values& held) {
    const Philox random(5, RandomPurpose::test, stream);
    Values values(at(shape.numel()));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.uniform(i) - 0.5;
    Tensor wide = empty(shape, DType::f64), tensor = empty(shape, dtype);
    ops_.upload(wide, std::as_bytes(std::span(values)), stream_);
    ops_.copy(tensor, wide, stream_);
    held = read(tensor);
    return tensor;
  }
  Tensor ids(const Ids& values) {
    Tensor tensor = empty({static_cast<std::int64_t>(values.size())}, DType::i32);
    ops_.upload(tensor, std::as_bytes(std::span(values)), stream_);
    return tensor;
  }
  Values read(const Tensor& tensor) {
    Tensor wide = empty(tensor.shape(), DType::f64);
    ops_.copy(wide, tensor, stream_);
    Values values(at(tensor.numel()));
    ops_.download(std::as_writable_bytes(std::span(values)), wide, stream_);
    stream_.synchronize();
    return values;
  }
  /// bf16 results round once (8 bits); f32 sums of up to 600 products of halves keep about 20 bits.
  static void expect_near(const Values& found, const Values& wanted, DType out) {
    ASSERT_EQ(found.size(), wanted.size());
    const double bound = out == DType::f64 ? 1e-13 : out == DType::f32 ? 1e-5 : 1.0 / 256;
    for (std::size_t i = 0; i < found.size(); ++i)
      ASSERT_NEAR(found[i], wanted[i], bound * std::max(1.0, std::abs(wanted[i]))) << "element " << i;
  }

  static constexpr std::int64_t kExperts = 3, kRows = 300;
  const std::int64_t out_ = GetParam().out, in_ = GetParam().in;
  const DType dtype_ = GetParam().dtype;
  const Ids offsets_{0, 150, 150, 290};  ///< two tiles, none, two tiles; ten rows of nobody

  cuda::CudaBackend ops_{0};
  cuda::CudaStream stream_{0};
};

// Promise: forward is the product of each expert's rows, to the last row of its last tile and no further.
TEST_P(CudaGroupedGemmTest, ForwardOverSeveralTiles) {
  Values x, w, y;
  const Tensor x_RI = random({kRows, in_}, dtype_, 1, x), w_EOI = random({kExperts, out_, in_}, dtype_, 2, w);
  Tensor y_RO = random({kRows, out_}, dtype_, 3, y);
  for (std::int64_t e = 0; e < kExperts; ++e)
    for (std::int64_t r = offsets_[at(e)]; r < offsets_[at(e + 1)]; ++r)
      for (std::int64_t o = 0; o < out_; ++o) {
        double& sum = y[at(r * out_ + o)] = 0;
        for (std::int64_t i = 0; i < in_; ++i) sum += x[at(r * in_ + i)] * w[at((e * out_ + o) * in_ + i)];
      }

  cuda::grouped_gemm(y_RO, x_RI, w_EOI, ids(offsets_), stream_);
  const Values found = read(y_RO);
  expect_near(found, y, dtype_);

  // The last expert's rows from the 37th on, standing elsewhere.
  const std::int64_t first = 150 + 37, count = 290 - first;
  Tensor alone = empty({count, out_}, dtype_);
  cuda::grouped_gemm(alone, x_RI.rows(first, 290), w_EOI, ids({0, 0, 0, static_cast<std::int32_t>(count)}), stream_);
  const Values moved = read(alone);
  for (std::size_t i = 0; i < moved.size(); ++i) ASSERT_EQ(moved[i], found[at(first * out_) + i]) << "element " << i;
}

// Promise: the gradients of rows and of weights, both accumulating, an expert of no rows keeping what it had.
TEST_P(CudaGroupedGemmTest, BackwardOverSeveralTiles) {
  const DType acc = accumulation_dtype(dtype_);
  Values x, w, dy, dx, dw;
  const Tensor x_RI = random({kRows, in_}, dtype_, 1, x), w_EOI = random({kExperts, out_, in_}, dtype_, 2, w);
  const Tensor dy_RO = random({kRows, out_}, dtype_, 3, dy);
  Tensor dx_RI = random({kRows, in_}, dtype_, 4, dx), dw_EOI = random({kExperts, out_, in_}, acc, 5, dw);
  for (std::int64_t e = 0; e < kExperts; ++e)
    for (std::int64_t r = offsets_[at(e)]; r < offsets_[at(e + 1)]; ++r)
      for (std::int64_t o = 0; o < out_; ++o)
        for (std::int64_t i = 0; i < in_; ++i) {
          dx[at(r * in_ + i)] += dy[at(r * out_ + o)] * w[at((e * out_ + o) * in_ + i)];
          dw[at((e * out_ + o) * in_ + i)] += dy[at(r * out_ + o)] * x[at(r * in_ + i)];
        }

  cuda::grouped_gemm_backward_input(dx_RI, dy_RO, w_EOI, ids(offsets_), true, stream_);
  cuda::grouped_gemm_backward_weight(dw_EOI, dy_RO, x_RI, ids(offsets_), stream_);

  expect_near(read(dx_RI), dx, dtype_);
  expect_near(read(dw_EOI), dw, acc);
}

// Promise: per-head products whose slices are wider than a tile, plain and transposed.
TEST_P(CudaGroupedGemmTest, PerHeadSlicesOverSeveralTiles) {
  const std::int64_t rows = 130, heads = 2, stride = 160, first = 16, count = 136, columns = 144;
  Values w;
  const Tensor w_M = random({heads * stride, columns}, dtype_, 1, w);
  for (const Transpose transpose : {Transpose::no, Transpose::yes}) {
    const bool plain = transpose == Transpose::no;
    const std::int64_t in = plain ? columns : count, out = plain ? count : columns;
    Values x, wanted(at(rows * heads * out));
    const Tensor x_R = random({rows, heads * in}, dtype_, 2, x);
    Tensor y = empty({rows, heads * out}, dtype_);
    for (std::int64_t row = 0; row < rows * heads; ++row)
      for (std::int64_t i = 0; i < in; ++i)
        for (std::int64_t j = 0; j < out; ++j)
          wanted[at(row * out + j)] +=
              x[at(row * in + i)] * w[at((row % heads * stride + first + (plain ? j : i)) * columns + (plain ? i : j))];

    cuda::per_head_gemm(y, x_R, w_M, heads, stride, first, count, transpose, stream_);

    expect_near(read(y), wanted, dtype_);
  }
}

// Promise: what does not fit is refused at the call.
TEST_P(CudaGroupedGemmTest, RefusesWhatDoesNotFit) {
  const Tensor x = empty({8, 24}, dtype_), w = empty({2, 16, 24}, dtype_), offsets = ids({0, 4, 8});
  Tensor narrow = empty({8, 15}, dtype_), few = empty({7, 16}, dtype_), wrong = empty({8, 16}, DType::i32);
  EXPECT_THROW(cuda::grouped_gemm(narrow, x, w, offsets, stream_), Error);
  EXPECT_THROW(cuda::grouped_gemm(few, x, w, offsets, stream_), Error);
  EXPECT_THROW(cuda::grouped_gemm(wrong, x, w, offsets, stream_), Error);
  EXPECT_THROW(cuda::grouped_gemm(empty({8, 16}, dtype_), x, w, ids({0, 8}), stream_), Error);
}

INSTANTIATE_TEST_SUITE_P(Types, CudaGroupedGemmTest,
                         testing::Values(Case{DType::f64, 136, 200, "f64"}, Case{DType::f32, 136, 200, "f32"},
                                         Case{DType::bf16, 136, 200, "bf16"},
                                         // Wider than a tile, and more steps than there are stages in a ring.
                                         Case{DType::bf16, 256, 584, "bf16_wide"},
                                         // Rows that are no whole vectors of 16 bytes.
                                         Case{DType::bf16, 133, 203, "bf16_odd"}),
                         [](const auto& info) { return std::string(info.param.name); });

// Promise: no more blocks than tiles, room for a last tile of each group, and an unknown form is an error.
TEST(CudaGroupedGemmLaunch, TilesAndForms) {
  cuda::GroupedProduct product;
  product.num_groups = 4;
  product.rows = 129;
  product.columns = 256;
  product.depth = 32;
  EXPECT_EQ(cuda::tiles_of(product, 128, 128), 4 * 2 * 2);
  product.by = cuda::GroupBy::rows;
  EXPECT_EQ(cuda::tiles_of(product, 128, 128), (2 + 4) * 2);
  product.a_by_depth = true;
  EXPECT_EQ(cuda::launch_grouped_product(product, DType::bf16, DType::bf16, 1, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(cuda::launch_grouped_product(product, DType::f32, DType::f64, 1, nullptr), cudaErrorInvalidValue);
}

}  // namespace
}  // namespace athanor
