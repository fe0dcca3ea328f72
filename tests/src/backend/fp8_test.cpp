// FP8 operands and products on every device. The reference finds the nearest E4M3 value by looking at all of them,
// scales by the formulas of the header, and multiplies in f64.
#include <cmath>
#include <limits>
#include <optional>

#include "src/backend/operand_shapes.hpp"
#include "src/base/e4m3.hpp"
#include "tests/support/device_fixture.hpp"

namespace athanor {
namespace {

/// All values of E4M3 by its definition: bits, then value.
double value_of_bits(int bits) {
  const int exponent = bits >> 3 & 15, mantissa = bits & 7;
  const double magnitude = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  return bits & 128 ? -magnitude : magnitude;
}

int nearest_bits(float value) {
  if (std::isnan(value)) return 0x7f;
  int best = 0;
  const double magnitude = std::abs(static_cast<double>(value));
  for (int bits = 0; bits <= 0x7e; ++bits) {
    const double error = std::abs(value_of_bits(bits) - magnitude);
    const double least = std::abs(value_of_bits(best) - magnitude);
    if (error < least || (error == least && bits % 2 == 0)) best = bits;
  }
  return best | (std::signbit(value) ? 128 : 0);
}

// Promise: every value of E4M3 stands for itself, the golden values hold, and any float becomes the nearest value.
TEST(E4m3, RoundsToTheNearestValue) {
  for (int bits = 0; bits < 256; ++bits) {
    if ((bits & 127) == 127) {
      EXPECT_TRUE(std::isnan(e4m3::value_of(static_cast<std::uint8_t>(bits))));
      continue;
    }
    EXPECT_EQ(e4m3::value_of(static_cast<std::uint8_t>(bits)), value_of_bits(bits));
    EXPECT_EQ(e4m3::bits_of(static_cast<float>(value_of_bits(bits))), bits);
  }
  const auto rounded = [](float value) { return e4m3::value_of(e4m3::bits_of(value)); };
  EXPECT_EQ(rounded(0.1F), 0.1015625F);
  EXPECT_EQ(rounded(17.0F), 16.0F);
  EXPECT_EQ(rounded(300.0F), 288.0F);
  EXPECT_EQ(rounded(0x1p-10F), 0.0F);
  EXPECT_EQ(rounded(500.0F), 448.0F);
  EXPECT_EQ(rounded(-std::numeric_limits<float>::infinity()), -448.0F);
  EXPECT_EQ(e4m3::bits_of(-std::numeric_limits<float>::quiet_NaN()), 0x7f);
  for (const double scale : {0.003, 0.05, 1.0, 30.0, 600.0})
    for (const double value : random_values(4000, 3, -scale, scale))
      ASSERT_EQ(e4m3::bits_of(static_cast<float>(value)), nearest_bits(static_cast<float>(value))) << value;
  for (int bits = 0; bits < 0x7e; ++bits) {  // ties
    const auto middle = static_cast<float>((value_of_bits(bits) + value_of_bits(bits + 1)) / 2);
    ASSERT_EQ(e4m3::bits_of(middle), nearest_bits(middle)) << middle;
  }
}

class Fp8Test : public DeviceTest {
 protected:
  struct Host {
    std::vector<double> values, scales;
  };
  static std::size_t at(std::int64_t row, std::int64_t column, std::int64_t width) {
    return static_cast<std::size_t>(row * width + column);
  }
  /// Numbers whose size differs from tile to tile, zeros and tiny ones among them.
  std::vector<double> numbers(std::int64_t rows, std::int64_t columns, std::uint64_t seed) {
    std::vector<double> values = random_values(rows * columns, seed);
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < columns; ++c)
        values[at(r, c, columns)] *=
            std::exp2(static_cast<double>((r / 3 + c / 20) % 9 - 4)) * ((r + c) % 7 == 0 ? 0 : 1);
    return values;
  }
  /// Fills values and scale of one tile, whose elements are f(i), i < count.
  template <class At, class Put>
  static float quantize_tile(int count, const At& element, const Put& put, Fp8Scaling scaling = Fp8Scaling::exact) {
    float largest = 0;
    for (int i = 0; i < count; ++i) largest = std::max(largest, std::abs(static_cast<float>(element(i))));
    float scale = std::max(largest / 448.0F, 0x1p-100F);
    if (scaling == Fp8Scaling::power_of_two) scale = std::exp2(std::ceil(std::log2(scale)));
    for (int i = 0; i < count; ++i) put(i, nearest_bits(static_cast<float>(element(i)) / scale));
    return scale;
  }
  Fp8Matrix by_rows(const std::vector<double>& values, std::int64_t rows, std::int64_t columns,
                    Fp8Scaling scaling = Fp8Scaling::exact) {
    std::vector<double> copy = values;
    const Fp8Matrix out = ops().empty_fp8_rows(rows, columns);
    ops().quantize_fp8_rows(out, tensor(copy, {rows, columns}, dtype()), scaling, stream());
    return out;
  }
  Fp8Matrix by_blocks(const std::vector<double>& values, const Shape& shape, Transpose transpose = Transpose::no) {
    std::vector<double> copy = values;
    Shape to = shape;
    if (transpose == Transpose::yes) std::swap(to[to.ndim() - 1], to[to.ndim() - 2]);
    const Fp8Matrix out = ops().empty_fp8_blocks(to);
    ops().quantize_fp8_blocks(out, tensor(copy, shape, dtype()), transpose, stream());
    return out;
  }
  /// What a matrix stands for, from its bits and scales; of blocks, matrix `group` of the stack.
  Host meaning(const Fp8Matrix& matrix, std::int64_t group = 0) {
    const Shape& shape = matrix.values.shape();
    const std::int64_t rows = shape[shape.ndim() - 2], columns = shape.back();
    const std::vector<double> bits = read(matrix.values), scales = read(matrix.scales);
    const std::int64_t stride = fp8_block_stride(columns), plane = fp8_tiles(rows) * stride;
    Host host;
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < columns; ++c) {
        const int byte = static_cast<int>(bits[at(group * rows + r, c, columns)]);
        host.values.push_back((byte & 127) == 127 ? std::nan("") : value_of_bits(byte));
        host.scales.push_back(matrix.tiles == Fp8Tiles::rows
                                  ? scales[at(c / 128, r, rows)]
                                  : scales[static_cast<std::size_t>(group * plane + r / 128 * stride + c / 128)]);
      }
    return host;
  }
  /// One element of a * b^T, and the sum of magnitudes that bounds its error.
  struct Sum {
    float value = 0;
    double magnitude = 0;
  };
  static Sum product(const Host& a, std::int64_t row, const Host& b, std::int64_t column, std::int64_t width,
                     std::int64_t first, std::int64_t depth) {
    Sum sum;
    for (std::int64_t tile = first; tile < first + depth; tile += 128) {
      double dot = 0, magnitude = 0;
      for (std::int64_t k = tile; k < std::min(tile + 128, first + depth); ++k) {
        dot += a.values[at(row, k, width)] * b.values[at(column, k, width)];
        magnitude += std::abs(a.values[at(row, k, width)] * b.values[at(column, k, width)]);
      }
      const float scale =
          static_cast<float>(a.scales[at(row, tile, width)]) * static_cast<float>(b.scales[at(column, tile, width)]);
      sum.value = std::fma(static_cast<float>(dot), scale, sum.value);
      sum.magnitude += magnitude * static_cast<double>(scale);
    }
    return sum;
  }
  /// The CPU takes the bits of the reference; tensor cores (and their emulation) may round inside a tile: Hopper keeps
  /// about 14 bits there.
  void expect_product(double found, double before, const Sum& wanted, DType out) {
    const bool exact = GetParam().device.starts_with("cpu");
    const double rounding = exact ? 0.0 : wanted.magnitude * 0x1p-13;
    float sum = static_cast<float>(before) + wanted.value;
    if (out == DType::bf16) sum = static_cast<float>(bf16(sum));
    const double bound = rounding + (exact || out == DType::f32 ? 0.0 : std::abs(static_cast<double>(sum)) * 0x1p-7) +
                         (exact ? 0.0 : std::abs(before) * 0x1p-22);
    EXPECT_NEAR(found, static_cast<double>(sum), bound);
  }
};

// Promise: rows, columns and blocks have the bits and scales of the definition, at sizes that end inside tiles.
TEST_P(Fp8Test, MakesOperandsBitForBit) {
  for (const auto& [rows, columns] : {std::array<std::int64_t, 2>{1, 16}, {5, 144}, {131, 272}}) {
    std::vector<double> x = numbers(rows, columns, 1);
    (void)tensor(x, {rows, columns}, dtype());  // x as the type holds it
    for (const Fp8Scaling scaling : {Fp8Scaling::exact, Fp8Scaling::power_of_two}) {
      const Fp8Matrix of_rows = by_rows(x, rows, columns, scaling);
      const std::vector<double> bits = read(of_rows.values), scales = read(of_rows.scales);
      for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t tile = 0; tile < fp8_tiles(columns); ++tile) {
          const auto count = static_cast<int>(std::min<std::int64_t>(128, columns - tile * 128));
          const float scale = quantize_tile(
              count, [&](int i) { return x[at(r, tile * 128 + i, columns)]; },
              [&](int i, int wanted) { ASSERT_EQ(bits[at(r, tile * 128 + i, columns)], wanted); }, scaling);
          ASSERT_EQ(scales[at(tile, r, rows)], static_cast<double>(scale));
        }
    }

    const Fp8Matrix of_columns = ops().empty_fp8_columns(rows, columns, 1);
    ops().quantize_fp8_columns(of_columns, tensor(std::vector<double>(x), {rows, columns}, dtype()), Tensor{},
                               stream());
    const std::int64_t places = of_columns.values.dim(1);
    ASSERT_EQ(places, (rows + 127) / 128 * 128);
    const std::vector<double> turned = read(of_columns.values), along = read(of_columns.scales);
    for (std::int64_t c = 0; c < columns; ++c)
      for (std::int64_t tile = 0; tile < places / 128; ++tile) {
        const auto element = [&](int i) { return tile * 128 + i < rows ? x[at(tile * 128 + i, c, columns)] : 0.0; };
        const float scale = quantize_tile(
            128, element, [&](int i, int wanted) { ASSERT_EQ(turned[at(c, tile * 128 + i, places)], wanted); });
        ASSERT_EQ(along[at(tile, c, columns)], static_cast<double>(scale));
      }
  }
}

// Promise: blocks of a stack, also of the transposed matrices: the same values and scales, turned.
TEST_P(Fp8Test, MakesBlocksOfWeightsBitForBit) {
  const std::int64_t stack = 2, rows = 144, columns = 272;
  std::vector<double> w = numbers(stack * rows, columns, 2);
  (void)tensor(w, {stack, rows, columns}, dtype());
  const Fp8Matrix blocks = by_blocks(w, {stack, rows, columns}),
                  turned = by_blocks(w, {stack, rows, columns}, Transpose::yes);
  const std::vector<double> bits = read(blocks.values), scales = read(blocks.scales);
  for (std::int64_t e = 0; e < stack; ++e) {
    for (std::int64_t row = 0; row < rows; row += 128)
      for (std::int64_t column = 0; column < columns; column += 128) {
        const std::int64_t height = std::min<std::int64_t>(128, rows - row),
                           width = std::min<std::int64_t>(128, columns - column);
        const auto place = [&](int i) { return at(e * rows + row + i / width, column + i % width, columns); };
        const float scale = quantize_tile(
            static_cast<int>(height * width), [&](int i) { return w[place(i)]; },
            [&](int i, int wanted) { ASSERT_EQ(bits[place(i)], wanted); });
        ASSERT_EQ(scales[static_cast<std::size_t>((e * 2 + row / 128) * 4 + column / 128)], static_cast<double>(scale));
      }
    const Host straight = meaning(blocks, e), other = meaning(turned, e);
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < columns; ++c) {
        ASSERT_EQ(straight.values[at(r, c, columns)], other.values[at(c, r, rows)]);
        ASSERT_EQ(straight.scales[at(r, c, columns)], other.scales[at(c, r, rows)]);
      }
  }
}

// Promise: rows turn back into element * scale, rounded to the type once; with powers of two nothing is rounded, and
// making rows of these numbers again changes none.
TEST_P(Fp8Test, TurnsRowsBackIntoNumbers) {
  const std::int64_t rows = 37, columns = 272;
  for (const Fp8Scaling scaling : {Fp8Scaling::exact, Fp8Scaling::power_of_two}) {
    const Fp8Matrix matrix = by_rows(numbers(rows, columns, 11), rows, columns, scaling);
    Tensor x = output({rows, columns}, dtype());
    ops().dequantize_fp8_rows(x, matrix, stream());
    const std::vector<double> found = read(x);
    const Host host = meaning(matrix);
    for (std::size_t i = 0; i < found.size(); ++i) {
      const auto exact = static_cast<float>(host.values[i] * host.scales[i]);
      ASSERT_EQ(found[i], dtype() == DType::bf16 ? static_cast<float>(bf16(exact)) : exact);
      if (scaling == Fp8Scaling::power_of_two) {
        ASSERT_EQ(found[i], host.values[i] * host.scales[i]);
      }
    }
    if (scaling == Fp8Scaling::exact) continue;
    const Host again = meaning(by_rows(found, rows, columns, scaling));
    for (std::size_t i = 0; i < found.size(); ++i) ASSERT_EQ(again.values[i] * again.scales[i], found[i]);
  }
}

// Promise: rows cut into columns, in groups, are the columns of the numbers they stand for, with scales that are powers
// of two, bit for bit; from rows of such scales nothing is rounded again but what is tiny in its tile.
TEST_P(Fp8Test, CutsRowsIntoColumns) {
  const std::vector<std::int32_t> starts{0, 7, 7, 140, 157};
  const std::int64_t rows = starts.back(), columns = 144, groups = 4;
  const Tensor offsets_E1 = ids(starts, {groups + 1});
  for (const Fp8Scaling scaling : {Fp8Scaling::exact, Fp8Scaling::power_of_two})
    for (const bool grouped : {true, false}) {
      if (scaling == Fp8Scaling::exact && !grouped) continue;
      const Fp8Matrix matrix = by_rows(numbers(rows, columns, 12), rows, columns, scaling);
      const Fp8Matrix turned = ops().empty_fp8_columns(rows, columns, grouped ? groups : 1);
      ops().retile_fp8_columns(turned, matrix, grouped ? offsets_E1 : Tensor{}, stream());
      const Host from = meaning(matrix);
      const std::vector<double> bits = read(turned.values), scales = read(turned.scales);
      const std::int64_t places = turned.values.dim(1);
      std::int64_t place = 0, kept = 0;
      for (std::size_t e = 0; e < (grouped ? 4U : 1U); ++e) {
        const std::int64_t first = grouped ? starts[e] : 0, last = grouped ? starts[e + 1] : rows;
        for (std::int64_t row = first; row < last; row += 128, place += 128)
          for (std::int64_t c = 0; c < columns; ++c) {
            const auto element = [&](int i) {
              const std::size_t here = at(row + i, c, columns);
              const auto scale = static_cast<float>(row + i < last ? from.scales[here] : 0.0);
              return row + i < last ? static_cast<double>(static_cast<float>(from.values[here]) * scale) : 0.0;
            };
            const float scale = quantize_tile(
                128, element, [&](int i, int wanted) { ASSERT_EQ(bits[at(c, place + i, places)], wanted); },
                Fp8Scaling::power_of_two);
            ASSERT_EQ(scales[at(place / 128, c, columns)], static_cast<double>(scale));
            if (scaling == Fp8Scaling::exact) continue;
            for (int i = 0; i < 128; ++i) {
              const int byte = static_cast<int>(bits[at(c, place + i, places)]);
              if (std::abs(element(i)) < 0x1p-6 * static_cast<double>(scale)) continue;
              ASSERT_EQ(value_of_bits(byte) * static_cast<double>(scale), element(i));
              ++kept;
            }
          }
      }
      if (scaling == Fp8Scaling::power_of_two) {
        EXPECT_GT(kept, rows * columns * 3 / 4);
      }
    }
}

// Promise: products of rows with blocks and with rows, into both types, added or not, on sizes inside and across tiles;
// those that cuBLAS would take (rows a multiple of 4) and those it would not.
TEST_P(Fp8Test, MultipliesAsDefined) {
  for (const auto& [m, n, k] : {std::array<std::int64_t, 3>{3, 16, 16}, {8, 40, 400}, {133, 144, 272}}) {
    const Fp8Matrix a = by_rows(numbers(m, k, 3), m, k);
    for (const bool blocks : {true, false})
      for (const DType out : {DType::f32, DType::bf16}) {
        const Fp8Matrix b = blocks ? by_blocks(numbers(n, k, 4), {n, k}) : by_rows(numbers(n, k, 4), n, k);
        const bool accumulate = blocks == (out == DType::f32);
        std::vector<double> before = random_values(m * n, 5);
        Tensor y = accumulate ? tensor(before, {m, n}, out) : output({m, n}, out);
        if (!accumulate) std::fill(before.begin(), before.end(), 0.0);

        ops().gemm_fp8(y, a, b, accumulate, stream());

        const Host left = meaning(a), right = meaning(b);
        const std::vector<double> found = read(y);
        for (std::int64_t i = 0; i < m; ++i)
          for (std::int64_t j = 0; j < n; ++j)
            expect_product(found[at(i, j, n)], before[at(i, j, n)], product(left, i, right, j, k, 0, k), out);
      }
  }
}

// Promise: each expert multiplies its own rows, forward and for its weights' gradient; one without rows changes
// nothing.
TEST_P(Fp8Test, GroupedProductsAreProductsOfTheGroups) {
  const std::int64_t experts = 4, n = 48, k = 144;
  const std::vector<std::int32_t> starts{0, 7, 7, 140, 157};
  const std::int64_t rows = starts.back();
  const Tensor offsets_E1 = ids(starts, {experts + 1});
  const std::vector<double> x = numbers(rows, k, 6), dy = numbers(rows, n, 7);
  const Fp8Matrix x_RK = by_rows(x, rows, k), w_ENK = by_blocks(numbers(experts * n, k, 8), {experts, n, k});
  std::vector<double> before = random_values(rows * n, 9);
  Tensor y_RN = tensor(before, {rows, n}, dtype());
  ops().grouped_gemm_fp8(y_RN, x_RK, w_ENK, offsets_E1, true, stream());
  const std::vector<double> y = read(y_RN);
  const Host left = meaning(x_RK);
  for (std::size_t e = 0; e < 4; ++e) {
    const Host right = meaning(w_ENK, static_cast<std::int64_t>(e));
    for (std::int64_t r = starts[e]; r < starts[e + 1]; ++r)
      for (std::int64_t j = 0; j < n; ++j)
        expect_product(y[at(r, j, n)], before[at(r, j, n)], product(left, r, right, j, k, 0, k), dtype());
  }

  const auto columns = [&](const std::vector<double>& values, std::int64_t width) {
    const Fp8Matrix out = ops().empty_fp8_columns(rows, width, experts);
    ops().quantize_fp8_columns(out, tensor(std::vector<double>(values), {rows, width}, dtype()), offsets_E1, stream());
    return out;
  };
  const Fp8Matrix x_KS = columns(x, k), dy_NS = columns(dy, n);
  std::vector<double> gradient = random_values(experts * n * k, 10);
  Tensor dw_ENK = tensor(gradient, {experts, n, k}, DType::f32);
  ops().grouped_gemm_fp8_weight(dw_ENK, dy_NS, x_KS, offsets_E1, stream());
  const std::vector<double> dw = read(dw_ENK);
  const Host dy_host = meaning(dy_NS), x_host = meaning(x_KS);
  const std::int64_t width = x_KS.values.dim(1);
  std::int64_t place = 0;
  for (std::size_t e = 0; e < 4; ++e) {
    const std::int64_t depth = (starts[e + 1] - starts[e] + 127) / 128 * 128;
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = 0; j < k; ++j) {
        const std::size_t here = at(static_cast<std::int64_t>(e) * n + i, j, k);
        expect_product(dw[here], gradient[here], product(dy_host, i, x_host, j, width, place, depth), DType::f32);
      }
    // Each place holds its own token: the largest of a column comes back within half a step of 3 bits.
    for (std::int64_t t = 0; t < starts[e + 1] - starts[e]; ++t)
      for (std::int64_t c = 0; c < k; ++c) {
        const std::size_t from = at(c, place + t, width);
        const double wanted = x[at(starts[e] + t, c, k)];
        ASSERT_NEAR(x_host.values[from] * x_host.scales[from], wanted,
                    std::abs(wanted) * 0.0666 + x_host.scales[from] * 0x1p-9);
      }
    place += depth;
  }
}

// Promise: what is not finite stays so; a tile of zeros is zeros; operands that do not fit are refused by name.
TEST_P(Fp8Test, KeepsNanAndZero) {
  std::vector<double> x(3 * 144, 0.0);
  x[5] = std::nan("");
  x[144 + 130] = std::numeric_limits<double>::infinity();
  const Host host = meaning(by_rows(x, 3, 144));
  for (std::int64_t c = 0; c < 144; ++c) {
    const auto value = [&](std::int64_t row) { return host.values[at(row, c, 144)] * host.scales[at(row, c, 144)]; };
    EXPECT_EQ(std::isnan(value(0)), c < 128) << c;
    EXPECT_EQ(std::isnan(value(1)), c >= 128) << c;
    EXPECT_EQ(value(2), 0.0);
  }
  const Fp8Matrix turned = ops().empty_fp8_columns(3, 144, 1);
  ops().retile_fp8_columns(turned, by_rows(x, 3, 144, Fp8Scaling::power_of_two), Tensor{}, stream());
  const Host columns = meaning(turned);
  for (std::int64_t c = 0; c < 144; ++c) {  // both rows of a column are in one tile
    EXPECT_TRUE(std::isnan(columns.values[at(c, 0, 128)] * columns.scales[at(c, 0, 128)])) << c;
    EXPECT_TRUE(std::isnan(columns.values[at(c, 1, 128)] * columns.scales[at(c, 1, 128)])) << c;
  }
  const Fp8Matrix a = ops().empty_fp8_rows(4, 32), b = ops().empty_fp8_rows(4, 48);
  try {
    ops().gemm_fp8(output({4, 4}, DType::f32), a, b, false, stream());
    FAIL() << "a product of two depths was taken";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("gemm_fp8: wanted one depth"), std::string::npos) << error.what();
  }
  try {
    ops().retile_fp8_columns(ops().empty_fp8_columns(32, 32, 1), ops().empty_fp8_blocks({32, 32}), Tensor{}, stream());
    FAIL() << "blocks were taken for rows";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("retile_fp8_columns: wanted a matrix by rows"), std::string::npos)
        << error.what();
  }
  try {
    ops().retile_fp8_columns(ops().empty_fp8_columns(300, 32, 1), a, Tensor{}, stream());
    FAIL() << "room for 300 rows was taken for 4";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("with 128 places"), std::string::npos) << error.what();
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, Fp8Test, testing::ValuesIn(device_cases({DType::f32, DType::bf16})),
                         device_case_name);

}  // namespace
}  // namespace athanor
