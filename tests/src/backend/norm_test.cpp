// RMSNorm and rotary embedding, against the reference on every device and type.
#include <cmath>

#include "tests/support/device_fixture.hpp"
#include "tests/support/reference_ops.hpp"

namespace athanor {
namespace {

class NormTest : public DeviceTest {};

// Promise: forward, input gradient (with and without a residual, in place too) and weight gradient for widths below,
// at and above a vector.
TEST_P(NormTest, AgreesWithTheReference) {
  constexpr double kEps = 1e-6;
  for (const std::int64_t width : {1, 7, 64, 193, 512}) {
    const std::int64_t rows = 67;
    const Shape shape{rows, width};
    std::vector<double> x = random_values(rows * width, 1, -2.0, 2.0), w = random_values(width, 2, 0.5, 1.5);
    std::vector<double> dy = random_values(rows * width, 3), residual = random_values(rows * width, 4);
    std::vector<double> dw = random_values(width, 5);
    const Tensor x_TD = tensor(x, shape, dtype()), w_D = tensor(w, {width}, dtype()),
                 dy_TD = tensor(dy, shape, dtype());
    Tensor y_TD = output(shape, dtype()), rstd_T = output({rows}, acc()), dx_TD = output(shape, dtype());
    Tensor residual_TD = tensor(residual, shape, dtype()), dw_D = tensor(dw, {width}, acc());

    ops().rms_norm_forward(y_TD, rstd_T, x_TD, w_D, kEps, stream());
    const auto wanted = reference::rms_norm_forward(x, w, kEps);
    EXPECT_TRUE(near(read(y_TD), wanted.y, bound(16)));
    EXPECT_TRUE(near(read(rstd_T), wanted.rstd_T, acc_bound(16)));

    ops().rms_norm_backward_input(dx_TD, dy_TD, x_TD, w_D, rstd_T, {}, stream());
    const auto dx = reference::rms_norm_backward_input(dy, x, w, kEps);
    // At width 1 the exact gradient is about 0, the difference of numbers of size rstd (up to 50 here).
    const Bound sums{bound(64).absolute * (width == 1 ? 1000 : 4), bound(64).relative};
    EXPECT_TRUE(near(read(dx_TD), dx, sums)) << "width " << width;
    ops().rms_norm_backward_input(residual_TD, dy_TD, x_TD, w_D, rstd_T, residual_TD, stream());
    EXPECT_TRUE(near(read(residual_TD), reference::add(residual, dx), sums)) << "width " << width;

    ops().rms_norm_backward_weight(dw_D, dy_TD, x_TD, rstd_T, stream());
    const auto wanted_dw = reference::add(dw, reference::rms_norm_backward_weight(dy, x, width, kEps));
    EXPECT_TRUE(near(read(dw_D), wanted_dw, acc_bound(200)));

    ops().rms_norm_backward_input(dy_TD, dy_TD, x_TD, w_D, rstd_T, {}, stream());
    EXPECT_EQ(read(dy_TD), read(dx_TD));
  }
}

class RopeTest : public DeviceTest {};

// Promise: both layouts, entries outside [offset, offset + rope_dim) untouched, positions in any order, and inverse
// undoes forward.
TEST_P(RopeTest, AgreesWithTheReference) {
  const std::int64_t rows = 45, heads = 3, positions = 50;
  for (const auto layout : {RopeLayout::interleaved, RopeLayout::half})
    for (const std::int64_t rope_dim : {2, 16, 64}) {
      const RopeArgs args{
          .layout = layout, .num_heads = heads, .head_dim = rope_dim + 9, .offset = 5, .rope_dim = rope_dim};
      std::vector<double> cosines, sines;
      for (std::int64_t i = 0; i < positions * rope_dim / 2; ++i) {
        cosines.push_back(std::cos(0.37 * static_cast<double>(i)));
        sines.push_back(std::sin(0.37 * static_cast<double>(i)));
      }
      const std::int64_t width = heads * args.head_dim;
      std::vector<double> x = random_values(rows * width, 1);
      const auto where = random_ids(rows, 2, static_cast<std::int32_t>(positions));
      const Tensor cos_PR = tensor(cosines, {positions, rope_dim / 2}, acc());
      const Tensor sin_PR = tensor(sines, {positions, rope_dim / 2}, acc());
      const Tensor x_TC = tensor(x, {rows, width}, dtype()), positions_T = ids(where, {rows});

      ops().rope(x_TC, positions_T, cos_PR, sin_PR, args, stream());
      EXPECT_TRUE(near(read(x_TC), reference::rope(x, where, cosines, sines, args), bound(4)));

      RopeArgs back = args;
      back.inverse = true;
      ops().rope(x_TC, positions_T, cos_PR, sin_PR, back, stream());
      EXPECT_TRUE(near(read(x_TC), x, {4 * bound(4).relative, 0}));
    }
}

// Promise: a position past the tables and a head that cannot hold the rotation are refused.
TEST_P(RopeTest, RefusesWhatDoesNotFit) {
  RopeArgs args{.num_heads = 1, .head_dim = 4, .rope_dim = 4};
  const Tensor x_TC = output({1, 4}, dtype()), table = output({3, 2}, acc());
  const auto rotate = [&](std::int32_t position) {
    ops().rope(x_TC, ids({position}, {1}), table, table, args, stream());
    stream().synchronize();
  };
  EXPECT_NO_THROW(rotate(2));
  EXPECT_THROW(rotate(3), Error);
  args.offset = 2;
  EXPECT_THROW(rotate(0), Error);
}

INSTANTIATE_TEST_SUITE_P(Backends, NormTest, testing::ValuesIn(device_cases()), device_case_name);
INSTANTIATE_TEST_SUITE_P(Backends, RopeTest, testing::ValuesIn(device_cases()), device_case_name);

}  // namespace
}  // namespace athanor
