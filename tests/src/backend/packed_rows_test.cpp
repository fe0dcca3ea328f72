// FP8 rows as they travel: packing and permuting move what quantize_fp8_rows makes, bit for bit, on every device.
#include <cmath>

#include "src/backend/operand_shapes.hpp"
#include "tests/support/device_fixture.hpp"
#include "tests/support/reference_ops.hpp"

namespace athanor {
namespace {

class PackedRowsTest : public DeviceTest {
 protected:
  // Two whole tiles and a part of one; 17 tiles need a second piece of exponents.
  static constexpr std::int64_t kTokens = 19, kTopK = 3, kExperts = 5, kWidths[] = {16, 304, 17 * 128 - 16};

  std::vector<std::int32_t> chosen() const {
    std::vector<std::int32_t> ids = random_ids(kTokens * kTopK, 1, kExperts);
    for (std::size_t pair = 0; pair < ids.size(); ++pair)
      if (pair % 5 == 2 || pair / kTopK == 7) ids[pair] = -1;
    return ids;
  }
  static std::vector<double> numbers(std::int64_t rows, std::int64_t width, std::uint64_t seed) {
    std::vector<double> values = random_values(rows * width, seed);
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] *= std::exp2(static_cast<double>(i / 128 % 23) - 11.0) * (i / 128 % 6 == 5 ? 0.0 : 1.0);
    return values;
  }
  Fp8Matrix quantized(const Tensor& x) {
    const Fp8Matrix rows = ops().empty_fp8_rows(x.dim(0), x.dim(1));
    ops().quantize_fp8_rows(rows, x, Fp8Scaling::power_of_two, stream());
    return rows;
  }
  Tensor packed(const Fp8Matrix& rows) {
    const Tensor out = ops().empty({rows.values.dim(0), fp8_row_bytes(rows.values.dim(1))}, DType::u8);
    ops().pack_fp8_rows(out, rows, stream());
    return out;
  }
};

// Promise: a packed row is its elements, a byte for the exponent of each tile's scale (127: 1), and zeros.
TEST_P(PackedRowsTest, LiesAsSaid) {
  std::vector<double> x(2 * 144, 0.0);
  x[0] = 448.0;         // scale 1
  x[128] = 1.0;         // scale 2^-8, the power of two above 1/448
  x[144 + 1] = -896.0;  // scale 2; the other tile is of zeros: scale 2^-100
  const std::vector<double> bytes = read(packed(quantized(tensor(x, {2, 144}, dtype()))));
  ASSERT_EQ(bytes.size(), 2U * 160U);
  std::vector<double> wanted(2 * 160, 0.0);
  wanted[0] = 0x7e;
  wanted[128] = 0x78;  // 256 = 2^8
  wanted[144] = 127;
  wanted[145] = 119;
  wanted[160 + 1] = 0xfe;
  wanted[160 + 144] = 128;
  wanted[160 + 145] = 27;
  EXPECT_EQ(bytes, wanted);
}

// Promise: rows that were packed and permuted are those of the permuted numbers, elements and scales, bit for bit.
TEST_P(PackedRowsTest, PermutesAsNumbersDo) {
  const auto sorted = reference::sort_by_expert(chosen(), kExperts);
  const auto rows = static_cast<std::int64_t>(sorted.pair_of_R.size());
  for (const std::int64_t width : kWidths) {
    const Tensor x_TD = tensor(numbers(kTokens, width, 2), {kTokens, width}, dtype());
    const Tensor pair_of_R = ids(sorted.pair_of_R, {rows}), x_RD = output({rows, width}, dtype());
    ops().permute_rows(x_RD, x_TD, pair_of_R, kTopK, stream());
    const Fp8Matrix wanted = quantized(x_RD), found = ops().empty_fp8_rows(rows, width);
    ops().permute_fp8_rows(found, packed(quantized(x_TD)), pair_of_R, kTopK, stream());
    EXPECT_EQ(read(found.values), read(wanted.values)) << width;
    EXPECT_EQ(read(found.scales), read(wanted.scales)) << width;
  }
}

// Promise: the gradient of a row is that of the token with the weight in its scales, and that of a weight the product
// of the row with the gradient as it was packed; pairs served elsewhere have none.
TEST_P(PackedRowsTest, DifferentiatesTheSum) {
  const auto sorted = reference::sort_by_expert(chosen(), kExperts);
  const auto rows = static_cast<std::int64_t>(sorted.pair_of_R.size());
  for (const std::int64_t width : kWidths) {
    std::vector<double> x = random_values(rows * width, 4), weights = random_values(kTokens * kTopK, 3, 0.1, 2.0);
    const Fp8Matrix dy = quantized(tensor(numbers(kTokens, width, 2), {kTokens, width}, dtype())),
                    dx = ops().empty_fp8_rows(rows, width);
    const Tensor decoded = output({kTokens, width}, dtype()), dweights = output({kTokens, kTopK}, DType::f32);
    ops().dequantize_fp8_rows(decoded, dy, stream());
    const Tensor x_RD = tensor(x, {rows, width}, dtype()), weights_TK = tensor(weights, {kTokens, kTopK}, DType::f32);
    ops().unpermute_fp8_rows_backward(dx, dweights, packed(dy), x_RD, ids(sorted.row_of_TK, {kTokens, kTopK}),
                                      weights_TK, stream());

    const auto values = read(dy.values), scales = read(dy.scales);
    std::vector<double> wanted_values(static_cast<std::size_t>(rows * width)),
        wanted_scales(static_cast<std::size_t>(rows * fp8_tiles(width)));
    for (std::size_t pair = 0; pair < sorted.row_of_TK.size(); ++pair) {
      const std::int64_t row = sorted.row_of_TK[pair], token = static_cast<std::int64_t>(pair) / kTopK;
      if (row < 0) continue;
      std::copy_n(values.begin() + token * width, width, wanted_values.begin() + row * width);
      for (std::int64_t tile = 0; tile < fp8_tiles(width); ++tile)
        wanted_scales[static_cast<std::size_t>(tile * rows + row)] =
            static_cast<float>(scales[static_cast<std::size_t>(tile * kTokens + token)]) *
            static_cast<float>(weights[pair]);
    }
    EXPECT_EQ(read(dx.values), wanted_values) << width;
    EXPECT_EQ(read(dx.scales), wanted_scales) << width;
    const auto wanted =
        reference::unpermute_rows_backward(read(decoded), x, sorted.row_of_TK, weights, kTopK, width).dweights_TK;
    EXPECT_TRUE(near(read(dweights), wanted, acc_bound(100))) << width;  // sums of up to 2160 products
  }
}

// Promise: what is not finite stays so on its way; no row is fine; shapes and pairs that do not fit are refused.
TEST_P(PackedRowsTest, KeepsWhatIsNotFiniteAndRefuses) {
  std::vector<double> x(3 * 32, 1.0);
  x[5] = std::nan("");
  x[40] = std::numeric_limits<double>::infinity();
  const Fp8Matrix rows = quantized(tensor(x, {3, 32}, dtype())), found = ops().empty_fp8_rows(3, 32);
  ops().permute_fp8_rows(found, packed(rows), ids({0, 1, 2}, {3}), 1, stream());
  const Tensor back = output({3, 32}, dtype());
  ops().dequantize_fp8_rows(back, found, stream());
  const std::vector<double> numbers = read(back);
  EXPECT_TRUE(std::isnan(numbers[5]));
  EXPECT_TRUE(std::isnan(numbers[40]));
  EXPECT_EQ(numbers[64], 1.0);

  const Fp8Matrix none = ops().empty_fp8_rows(0, 32);
  ops().permute_fp8_rows(none, packed(none), ids({}, {0}), 2, stream());
  ops().unpermute_fp8_rows_backward(none, ops().empty({0, 2}, DType::f32), packed(none), ops().empty({0, 32}, dtype()),
                                    ids({}, {0, 2}), ops().empty({0, 2}, DType::f32), stream());
  EXPECT_NO_THROW(stream().synchronize());

  EXPECT_THROW(ops().pack_fp8_rows(ops().empty({3, 32}, DType::u8), rows, stream()), Error);
  EXPECT_THROW(
      {
        ops().permute_fp8_rows(found, packed(rows), ids({0, 3, 1}, {3}), 1, stream());
        stream().synchronize();
      },
      Error);
}

INSTANTIATE_TEST_SUITE_P(Backends, PackedRowsTest, testing::ValuesIn(device_cases({DType::f32, DType::bf16})),
                         device_case_name);

}  // namespace
}  // namespace athanor
