// Matrix products against obvious f64 loops, on every device and type, and the law that a row does not depend on its
// company.
#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <vector>

#include "src/backend/backend.hpp"

namespace athanor {
namespace {

struct Case {
  std::string device;
  DType in, out;
};

class GemmTest : public testing::TestWithParam<Case> {
 protected:
  GemmTest() : ops_(make_backend(GetParam().device)), stream_(ops_->make_stream()) {}

  /// Small random numbers as a tensor of `dtype`, and what the tensor then holds, as f64.
  Tensor random(const Shape& shape, DType dtype, std::uint64_t stream, std::vector<double>& values) {
    const Philox random(5, RandomPurpose::test, stream);
    std::vector<float> host(static_cast<std::size_t>(shape.numel()));
    for (std::size_t i = 0; i < host.size(); ++i) host[i] = static_cast<float>(random.uniform(i) - 0.5);
    Tensor f32 = upload_vector<float>(*ops_, host, shape, *stream_);
    Tensor tensor = ops_->empty(shape, dtype);
    ops_->copy(tensor, f32, *stream_);
    values = read(tensor);
    return tensor;
  }
  std::vector<double> read(const Tensor& tensor) {
    Tensor wide = ops_->empty(tensor.shape(), DType::f64);
    ops_->copy(wide, tensor, *stream_);
    std::vector<double> values(static_cast<std::size_t>(tensor.numel()));
    ops_->download(std::as_writable_bytes(std::span(values)), wide, *stream_);
    stream_->synchronize();
    return values;
  }
  /// bf16 outputs round once (8 bits); f32 sums of k products of halves keep about 22 bits.
  double bound(std::int64_t k) const {
    if (GetParam().out == DType::bf16) return 0.25 * std::sqrt(static_cast<double>(k)) * 0x1p-7;
    return GetParam().in == DType::f64 ? 1e-12 : 1e-6 * std::sqrt(static_cast<double>(k));
  }
  static void expect_near(const std::vector<double>& found, const std::vector<double>& wanted, double bound) {
    ASSERT_EQ(found.size(), wanted.size());
    std::size_t worst = 0;
    double error = -1;
    for (std::size_t i = 0; i < found.size(); ++i) {
      const double e = std::abs(found[i] - wanted[i]);
      if (!(e <= error)) worst = i, error = e;
    }
    EXPECT_LE(error, bound) << "worst at " << worst << ": found " << found[worst] << ", wanted " << wanted[worst];
  }

  std::unique_ptr<Backend> ops_;
  std::unique_ptr<Stream> stream_;
};

// Promise: C = op(A) op(B) (+ C) for every transposition on odd sizes, also below 16 rows and above one piece of 1024.
TEST_P(GemmTest, AgreesWithTheReference) {
  for (const auto& [m, n, k] : {std::array<std::int64_t, 3>{1, 5, 3}, {15, 33, 17}, {67, 48, 130}, {1051, 19, 40}})
    for (const auto ta : {Transpose::no, Transpose::yes})
      for (const auto tb : {Transpose::no, Transpose::yes})
        for (const bool accumulate : {false, true}) {
          std::vector<double> a, b, wanted;
          const Tensor ta_A = random(ta == Transpose::yes ? Shape{k, m} : Shape{m, k}, GetParam().in, 1, a);
          const Tensor tb_B = random(tb == Transpose::yes ? Shape{n, k} : Shape{k, n}, GetParam().in, 2, b);
          Tensor c = random({m, n}, GetParam().out, 3, wanted);
          for (std::int64_t i = 0; i < m; ++i)
            for (std::int64_t j = 0; j < n; ++j) {
              double sum = accumulate ? wanted[static_cast<std::size_t>(i * n + j)] : 0;
              for (std::int64_t l = 0; l < k; ++l)
                sum += a[static_cast<std::size_t>(ta == Transpose::yes ? l * m + i : i * k + l)] *
                       b[static_cast<std::size_t>(tb == Transpose::yes ? j * k + l : l * n + j)];
              wanted[static_cast<std::size_t>(i * n + j)] = sum;
            }

          ops_->gemm(c, ta_A, ta, tb_B, tb, accumulate, *stream_);

          expect_near(read(c), wanted, bound(k));
        }
}

// Promise: y = x w^T + b is the product and its bias, rounded no more than the two after each other.
TEST_P(GemmTest, AddsTheBias) {
  const std::int64_t m = 37, n = 40, k = 72;
  std::vector<double> vx, vw, vb, wanted;
  const Tensor x = random({m, k}, GetParam().in, 1, vx), w = random({n, k}, GetParam().in, 2, vw),
               b = random({n}, GetParam().out, 3, vb);
  Tensor y = ops_->empty({m, n}, GetParam().out);
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = vb[static_cast<std::size_t>(j)];
      for (std::int64_t l = 0; l < k; ++l)
        sum += vx[static_cast<std::size_t>(i * k + l)] * vw[static_cast<std::size_t>(j * k + l)];
      wanted.push_back(sum);
    }

  ops_->gemm_bias(y, x, w, b, *stream_);

  expect_near(read(y), wanted, 2 * bound(k));
  EXPECT_THROW(ops_->gemm_bias(y, x, w, x, *stream_), Error);
}

// Promise: each expert multiplies its own rows, an expert without rows changes nothing, and the three grouped products
// are the plain products of each group.
TEST_P(GemmTest, GroupedProductsAreProductsOfTheGroups) {
  const std::int64_t experts = 4, out = 19, in = 24;
  const std::vector<std::int32_t> offsets{0, 7, 7, 40, 57};
  const std::int64_t rows = offsets.back();
  std::vector<double> x, w, y, dx;
  const Tensor x_RI = random({rows, in}, GetParam().in, 1, x), w_EOI = random({experts, out, in}, GetParam().in, 2, w);
  const Tensor offsets_E1 = upload_vector<std::int32_t>(*ops_, offsets, {experts + 1}, *stream_);
  Tensor y_RO = ops_->empty({rows, out}, GetParam().out);
  std::vector<double> wanted(static_cast<std::size_t>(rows * out));
  for (std::size_t e = 0; e < 4; ++e)
    for (std::int64_t r = offsets[e]; r < offsets[e + 1]; ++r)
      for (std::int64_t o = 0; o < out; ++o)
        for (std::int64_t i = 0; i < in; ++i)
          wanted[static_cast<std::size_t>(r * out + o)] +=
              x[static_cast<std::size_t>(r * in + i)] *
              w[(e * static_cast<std::size_t>(out) + static_cast<std::size_t>(o)) * static_cast<std::size_t>(in) +
                static_cast<std::size_t>(i)];

  ops_->grouped_gemm(y_RO, x_RI, w_EOI, offsets_E1, *stream_);
  expect_near(read(y_RO), wanted, bound(in));

  const Tensor dy_RO = random({rows, out}, GetParam().in, 4, y);
  Tensor dx_RI = random({rows, in}, GetParam().out, 5, dx);
  for (const bool accumulate : {true, false}) {
    if (!accumulate) std::fill(dx.begin(), dx.end(), 0.0);
    for (std::size_t e = 0; e < 4; ++e)
      for (std::int64_t r = offsets[e]; r < offsets[e + 1]; ++r)
        for (std::int64_t i = 0; i < in; ++i)
          for (std::int64_t o = 0; o < out; ++o)
            dx[static_cast<std::size_t>(r * in + i)] +=
                y[static_cast<std::size_t>(r * out + o)] *
                w[(e * static_cast<std::size_t>(out) + static_cast<std::size_t>(o)) * static_cast<std::size_t>(in) +
                  static_cast<std::size_t>(i)];
    ops_->grouped_gemm_backward_input(dx_RI, dy_RO, w_EOI, offsets_E1, accumulate, *stream_);
    expect_near(read(dx_RI), dx, bound(out));
  }

  const DType acc = accumulation_dtype(GetParam().in);
  std::vector<double> dw;
  Tensor dw_EOI = random({experts, out, in}, acc, 6, dw);
  for (std::size_t e = 0; e < 4; ++e)
    for (std::int64_t r = offsets[e]; r < offsets[e + 1]; ++r)
      for (std::int64_t o = 0; o < out; ++o)
        for (std::int64_t i = 0; i < in; ++i)
          dw[(e * static_cast<std::size_t>(out) + static_cast<std::size_t>(o)) * static_cast<std::size_t>(in) +
             static_cast<std::size_t>(i)] +=
              y[static_cast<std::size_t>(r * out + o)] * x[static_cast<std::size_t>(r * in + i)];
  ops_->grouped_gemm_backward_weight(dw_EOI, dy_RO, x_RI, offsets_E1, *stream_);
  expect_near(read(dw_EOI), dw, acc == DType::f64 ? 1e-12 : 1e-5);
}

// Promise: while rows are kept alike, a row of a product is the same bits alone, among many, and with any number of
// threads.
TEST_P(GemmTest, ARowDoesNotDependOnItsCompany) {
  EXPECT_FALSE(ops_->keep_rows_alike(true));
  const std::int64_t m = 300, n = 256, k = 192;
  std::vector<double> unused;
  const Tensor a = random({m, k}, GetParam().in, 1, unused), b = random({n, k}, GetParam().in, 2, unused);
  Tensor all = ops_->empty({m, n}, GetParam().out);
  ops_->gemm(all, a, Transpose::no, b, Transpose::yes, false, *stream_);
  const auto wanted = read(all);
  const int threads = omp_get_max_threads();
  for (const int num_threads : {1, 2})
    for (const auto& [begin, end] : {std::pair<std::int64_t, std::int64_t>{17, 18}, {100, 131}, {3, 299}}) {
      omp_set_num_threads(num_threads);
      Tensor some = ops_->empty({end - begin, n}, GetParam().out);
      ops_->gemm(some, a.rows(begin, end), Transpose::no, b, Transpose::yes, false, *stream_);
      const auto found = read(some);
      for (std::size_t i = 0; i < found.size(); ++i)
        ASSERT_EQ(found[i], wanted[static_cast<std::size_t>(begin * n) + i])
            << "rows " << begin << ".." << end << ", element " << i;
    }
  omp_set_num_threads(threads);
}

// Promise: shapes and types that do not fit are refused at the call, with both shapes.
TEST_P(GemmTest, RefusesShapesThatDoNotFit) {
  const Tensor a = ops_->empty({4, 5}, GetParam().in), b = ops_->empty({6, 4}, GetParam().in);
  Tensor c = ops_->empty({4, 6}, GetParam().out);
  EXPECT_THROW(ops_->gemm(c, a, Transpose::no, b, Transpose::yes, false, *stream_), Error);
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const std::string& device : available_devices())
    for (const auto& [in, out] : {std::pair{DType::f64, DType::f64},
                                  {DType::f32, DType::f32},
                                  {DType::bf16, DType::bf16},
                                  {DType::bf16, DType::f32}})
      all.push_back({device, in, out});
  return all;
}
INSTANTIATE_TEST_SUITE_P(Backends, GemmTest, testing::ValuesIn(cases()), [](const auto& info) {
  std::string name =
      info.param.device + "_" + std::string(to_string(info.param.in)) + "_" + std::string(to_string(info.param.out));
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
});

}  // namespace
}  // namespace athanor
