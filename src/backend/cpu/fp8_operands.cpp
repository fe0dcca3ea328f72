// FP8 operands: made of numbers, turned back into them, and cut anew into other tiles.
#include <array>
#include <bit>

#include "src/backend/cpu/cpu_backend.hpp"
#include "src/backend/cpu/fp8_product.hpp"
#include "src/backend/cpu/kernel.hpp"
#include "src/base/e4m3.hpp"

namespace athanor {
namespace {

using cpu::data;

constexpr float kLeastScale = 0x1p-100F;

/// The largest magnitude, as its bits: they order as the values do, NaN above all.
template <class T>
std::uint32_t largest_of(const T* x, std::int64_t count) {
  std::uint32_t bits = 0;
  for (std::int64_t i = 0; i < count; ++i)
    bits = std::max(bits, std::bit_cast<std::uint32_t>(static_cast<float>(x[i])) & 0x7fffffffU);
  return bits;
}
float scale_of(std::uint32_t largest, Fp8Scaling scaling) {
  const float scale = std::bit_cast<float>(largest) / e4m3::kLargest;
  if (scale < kLeastScale) return kLeastScale;
  const auto bits = std::bit_cast<std::uint32_t>(scale);
  if (scaling == Fp8Scaling::exact || bits >= 0x7f800000U) return scale;  // what is not finite stays so
  return std::bit_cast<float>((bits + 0x7fffffU) & 0x7f800000U);          // up to a power of two
}
/// Bytes alias everything: without `restrict` this would not vectorise.
template <class T>
void quantize(std::uint8_t* __restrict to, const T* __restrict x, std::int64_t count, float scale) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = e4m3::bits_of(static_cast<float>(x[i]) / scale);
}

const std::array<float, 256> kValues = [] {
  std::array<float, 256> values{};
  for (std::size_t bits = 0; bits < values.size(); ++bits)
    values[bits] = e4m3::value_of(static_cast<std::uint8_t>(bits));
  return values;
}();

template <class F>
void dispatch_source(DType dtype, const F& f) {
  if (dtype == DType::bf16) return f(bf16{});
  f(float{});
}

/// Where columns go: `places` bytes a column, scales a tile of places after the other.
struct ColumnTiles {
  std::uint8_t* values;
  float* scales;
  std::int64_t by_tile, places;
};

/// Tiles of 128 x 1 along the rows of each group. read(row, first column, columns, to) gives numbers of a row.
template <class Read>
void write_columns(const ColumnTiles& out, const std::int32_t* offsets, std::int64_t groups, std::int64_t rows,
                   std::int64_t columns, Fp8Scaling scaling, const Read& read) {
  // Columns are shared out by 64, so that reading runs along rows.
  cpu::parallel_rows(columns, 64, rows * 4, [&](std::int64_t begin, std::int64_t end) {
    float line[64], turned[64][kFp8Tile];
    const auto tiles = [&](std::int64_t, std::int64_t first, std::int64_t last, std::int64_t place) {
      for (std::int64_t row = first; row < last; row += kFp8Tile, place += kFp8Tile) {
        const std::int64_t count = std::min(kFp8Tile, last - row);
        for (std::int64_t i = 0; i < count; ++i) {
          read(row + i, begin, end - begin, line);
          for (std::int64_t c = 0; c < end - begin; ++c) turned[c][i] = line[c];
        }
        for (std::int64_t c = begin; c < end; ++c) {
          const float s = scale_of(largest_of(turned[c - begin], count), scaling);
          std::uint8_t* to = out.values + c * out.places + place;
          quantize(to, turned[c - begin], count, s);
          std::fill(to + count, to + kFp8Tile, std::uint8_t{0});
          out.scales[place / kFp8Tile * out.by_tile + c] = s;
        }
      }
    };
    cpu::for_fp8_groups(offsets, groups, rows, tiles);
  });
}

/// to[c] = the number at (row, first + c), in f32.
void decode(float* to, const std::uint8_t* values, const float* scales, std::int64_t by_tile, std::int64_t first,
            std::int64_t count) {
  for (std::int64_t c = 0; c < count; ++c) to[c] = kValues[values[c]] * scales[(first + c) / kFp8Tile * by_tile];
}

}  // namespace

void CpuBackend::quantize_fp8_rows(const Fp8Matrix& out, const Tensor& x_TI, Fp8Scaling scaling, Stream& stream) {
  Fp8Scales scales = require_fp8_of_rows("quantize_fp8_rows", out, x_TI);
  const std::int64_t rows = x_TI.shape().flat_rows(), columns = x_TI.shape().back();
  dispatch_source(x_TI.dtype(), [&](auto type) {
    using T = decltype(type);
    run_on(stream, [=] {
      auto* values = data<std::uint8_t>(out.values);
      auto* scale = data<float>(out.scales);
      const T* x = data<T>(x_TI);
      cpu::parallel_rows(rows, 16, columns * 4, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t r = begin; r < end; ++r)
          for (std::int64_t t = 0; t < fp8_tiles(columns); ++t) {
            const std::int64_t first = r * columns + t * kFp8Tile, count = std::min(kFp8Tile, columns - t * kFp8Tile);
            const float s = scale_of(largest_of(x + first, count), scaling);
            quantize(values + first, x + first, count, s);
            scale[t * scales.by_tile + r] = s;
          }
      });
    });
  });
}

void CpuBackend::quantize_fp8_columns(const Fp8Matrix& out, const Tensor& x_TI, const Tensor& offsets_E1,
                                      Stream& stream) {
  const Fp8Scales scales = require_fp8_of_columns("quantize_fp8_columns", out, x_TI, offsets_E1);
  const std::int64_t rows = x_TI.shape().flat_rows(), columns = x_TI.shape().back(), places = out.values.dim(1);
  const std::int64_t groups = offsets_E1.defined() ? offsets_E1.numel() - 1 : 1;
  dispatch_source(x_TI.dtype(), [&](auto type) {
    using T = decltype(type);
    run_on(stream, [=] {
      const T* x = data<T>(x_TI);
      const auto* offsets = offsets_E1.defined() ? data<std::int32_t>(offsets_E1) : nullptr;
      write_columns({data<std::uint8_t>(out.values), data<float>(out.scales), scales.by_tile, places}, offsets, groups,
                    rows, columns, Fp8Scaling::exact,
                    [=](std::int64_t row, std::int64_t first, std::int64_t count, float* to) {
                      const T* from = x + row * columns + first;
                      for (std::int64_t c = 0; c < count; ++c) to[c] = static_cast<float>(from[c]);
                    });
    });
  });
}

void CpuBackend::retile_fp8_columns(const Fp8Matrix& out, const Fp8Matrix& rows_TI, const Tensor& offsets_E1,
                                    Stream& stream) {
  const Fp8Retiling scales = require_fp8_retiling("retile_fp8_columns", out, rows_TI, offsets_E1);
  const std::int64_t rows = rows_TI.values.dim(0), columns = rows_TI.values.dim(1), places = out.values.dim(1);
  const std::int64_t groups = offsets_E1.defined() ? offsets_E1.numel() - 1 : 1;
  run_on(stream, [=] {
    const auto* values = data<std::uint8_t>(rows_TI.values);
    const auto* from = data<float>(rows_TI.scales);
    const auto* offsets = offsets_E1.defined() ? data<std::int32_t>(offsets_E1) : nullptr;
    write_columns({data<std::uint8_t>(out.values), data<float>(out.scales), scales.out.by_tile, places}, offsets,
                  groups, rows, columns, Fp8Scaling::power_of_two,
                  [=](std::int64_t row, std::int64_t first, std::int64_t count, float* to) {
                    decode(to, values + row * columns + first, from + row, scales.from.by_tile, first, count);
                  });
  });
}

void CpuBackend::dequantize_fp8_rows(Tensor x_TI, const Fp8Matrix& rows_TI, Stream& stream) {
  const Fp8Scales scales = require_fp8_of_rows("dequantize_fp8_rows", rows_TI, x_TI);
  const std::int64_t rows = rows_TI.values.dim(0), columns = rows_TI.values.dim(1);
  dispatch_source(x_TI.dtype(), [&](auto type) {
    using T = decltype(type);
    run_on(stream, [=] {
      const auto* values = data<std::uint8_t>(rows_TI.values);
      const auto* from = data<float>(rows_TI.scales);
      T* x = data<T>(x_TI);
      cpu::parallel_rows(rows, 16, columns * 4, [&](std::int64_t begin, std::int64_t end) {
        float tile[kFp8Tile];
        for (std::int64_t r = begin; r < end; ++r)
          for (std::int64_t first = 0; first < columns; first += kFp8Tile) {
            const std::int64_t count = std::min(kFp8Tile, columns - first);
            decode(tile, values + r * columns + first, from + r, scales.by_tile, first, count);
            for (std::int64_t c = 0; c < count; ++c) x[r * columns + first + c] = static_cast<T>(tile[c]);
          }
      });
    });
  });
}

void CpuBackend::quantize_fp8_blocks(const Fp8Matrix& out, const Tensor& w, Transpose transpose, Stream& stream) {
  const Fp8Scales scales = require_fp8_of_blocks("quantize_fp8_blocks", out, w, transpose);
  const Shape& shape = w.shape();
  const std::int64_t rows = shape[shape.ndim() - 2], columns = shape.back(),
                     stack = w.numel() / std::max<std::int64_t>(rows * columns, 1);
  dispatch_source(w.dtype(), [&](auto type) {
    using T = decltype(type);
    run_on(stream, [=] {
      const std::int64_t across = fp8_tiles(columns), blocks = fp8_tiles(rows) * across;
      cpu::parallel_rows(stack * blocks, 1, kFp8Tile * kFp8Tile * 4, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t number = begin; number < end; ++number) {
          const std::int64_t e = number / blocks, row = number % blocks / across * kFp8Tile;
          const std::int64_t column = number % across * kFp8Tile;
          const std::int64_t height = std::min(kFp8Tile, rows - row), width = std::min(kFp8Tile, columns - column);
          const T* from = data<T>(w) + (e * rows + row) * columns + column;
          std::uint32_t largest = 0;
          for (std::int64_t i = 0; i < height; ++i) largest = std::max(largest, largest_of(from + i * columns, width));
          const float s = scale_of(largest, Fp8Scaling::exact);
          const bool turned = transpose == Transpose::yes;
          std::uint8_t* to = data<std::uint8_t>(out.values) + e * rows * columns +
                             (turned ? column * rows + row : row * columns + column);
          for (std::int64_t i = 0; i < height; ++i) {
            std::uint8_t line[kFp8Tile];
            quantize(turned ? line : to + i * columns, from + i * columns, width, s);
            for (std::int64_t j = 0; turned && j < width; ++j) to[j * rows + i] = line[j];
          }
          data<float>(out.scales)[e * scales.by_group + (turned ? column : row) / kFp8Tile * scales.by_row +
                                  (turned ? row : column) / kFp8Tile] = s;
        }
      });
    });
  });
}

}  // namespace athanor
