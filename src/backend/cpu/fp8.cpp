// Matrix products in FP8: making operands of numbers, and sharing products out over threads.
#include <omp.h>

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
float scale_of(std::uint32_t largest) {
  const float scale = std::bit_cast<float>(largest) / e4m3::kLargest;
  return scale < kLeastScale ? kLeastScale : scale;
}
/// Bytes alias everything: without `restrict` this would not vectorise.
template <class T>
void quantize(std::uint8_t* __restrict to, const T* __restrict x, std::int64_t count, float scale) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = e4m3::bits_of(static_cast<float>(x[i]) / scale);
}

template <class F>
void dispatch_source(DType dtype, const F& f) {
  if (dtype == DType::bf16) return f(bf16{});
  f(float{});
}

/// Runs f(group, first row, last row, first place) for every group; places begin at multiples of a tile.
template <class F>
void for_groups(const std::int32_t* offsets, std::int64_t groups, std::int64_t rows, const F& f) {
  std::int64_t place = 0;
  for (std::int64_t e = 0; e < groups; ++e) {
    const std::int64_t begin = offsets ? offsets[e] : 0, end = offsets ? offsets[e + 1] : rows;
    f(e, begin, end, place);
    place += fp8_tiles(end - begin) * kFp8Tile;
  }
}

/// Shares the rows of a product out over threads.
template <class Out>
void product_by_rows(const cpu::Fp8Product& whole, const cpu::Fp8Rows& a, const cpu::Fp8Rows& b, Out* c) {
  const std::int64_t pieces = std::min<std::int64_t>(omp_get_max_threads(), whole.m),
                     rows = (whole.m + pieces - 1) / pieces;
#pragma omp parallel for schedule(static) num_threads(static_cast <int>(pieces))
  for (std::int64_t i = 0; i < pieces; ++i) {
    cpu::Fp8Product part = whole;
    part.m = std::min(rows, whole.m - i * rows);
    if (part.m <= 0) continue;
    cpu::Fp8Rows from = a;
    from.values += i * rows * a.stride;
    from.scales.data += i * rows * a.scales.by_row;
    cpu::multiply(part, from, b, c + i * rows * whole.ldc);
  }
}

template <class F>
void dispatch_output(DType dtype, const F& f) {
  if (dtype == DType::bf16) return f(bf16{});
  f(float{});
}

}  // namespace

void CpuBackend::quantize_fp8_rows(const Fp8Matrix& out, const Tensor& x_TI, Stream& stream) {
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
            const float s = scale_of(largest_of(x + first, count));
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
      auto* values = data<std::uint8_t>(out.values);
      auto* scale = data<float>(out.scales);
      const T* x = data<T>(x_TI);
      const auto* offsets = offsets_E1.defined() ? data<std::int32_t>(offsets_E1) : nullptr;
      // Columns are shared out by 64, so that reading runs along rows.
      cpu::parallel_rows(columns, 64, rows * 4, [&](std::int64_t begin, std::int64_t end) {
        float turned[64][kFp8Tile];
        for_groups(offsets, groups, rows, [&](std::int64_t, std::int64_t first, std::int64_t last, std::int64_t place) {
          for (std::int64_t row = first; row < last; row += kFp8Tile, place += kFp8Tile) {
            const std::int64_t count = std::min(kFp8Tile, last - row);
            for (std::int64_t i = 0; i < count; ++i)
              for (std::int64_t c = begin; c < end; ++c)
                turned[c - begin][i] = static_cast<float>(x[(row + i) * columns + c]);
            for (std::int64_t c = begin; c < end; ++c) {
              const float s = scale_of(largest_of(turned[c - begin], count));
              std::uint8_t* to = values + c * places + place;
              quantize(to, turned[c - begin], count, s);
              std::fill(to + count, to + kFp8Tile, std::uint8_t{0});
              scale[place / kFp8Tile * scales.by_tile + c] = s;
            }
          }
        });
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
          const float s = scale_of(largest);
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

void CpuBackend::gemm_fp8(Tensor y_MN, const Fp8Matrix& a_MK, const Fp8Matrix& b_NK, bool accumulate, Stream& stream) {
  require_fp8_product("gemm_fp8", y_MN, a_MK, b_NK, Tensor{});
  Fp8Scales a_scales = require_fp8("gemm_fp8", a_MK), b_scales = require_fp8("gemm_fp8", b_NK);
  const cpu::Fp8Product p{a_MK.values.dim(0), b_NK.values.dim(0), a_MK.values.dim(1), b_NK.values.dim(0), accumulate};
  if (p.m == 0 || p.n == 0) return;
  dispatch_output(y_MN.dtype(), [&](auto type) {
    using Out = decltype(type);
    run_on(stream, [=]() mutable {
      a_scales.data = data<float>(a_MK.scales);
      b_scales.data = data<float>(b_NK.scales);
      product_by_rows(p, {data<std::uint8_t>(a_MK.values), p.k, a_scales},
                      {data<std::uint8_t>(b_NK.values), p.k, b_scales}, data<Out>(y_MN));
    });
  });
}

void CpuBackend::grouped_gemm_fp8(Tensor y_RN, const Fp8Matrix& a_RK, const Fp8Matrix& b_ENK, const Tensor& offsets_E1,
                                  bool accumulate, Stream& stream) {
  require_fp8_product("grouped_gemm_fp8", y_RN, a_RK, b_ENK, offsets_E1);
  require(b_ENK.tiles == Fp8Tiles::blocks, "grouped_gemm_fp8", "weights by blocks", b_ENK.values);
  Fp8Scales a_scales = require_fp8("grouped_gemm_fp8", a_RK), b_scales = require_fp8("grouped_gemm_fp8", b_ENK);
  const std::int64_t groups = b_ENK.values.dim(0), n = b_ENK.values.dim(1), k = b_ENK.values.dim(2);
  dispatch_output(y_RN.dtype(), [&](auto type) {
    using Out = decltype(type);
    run_on(stream, [=]() mutable {
      const auto* offsets = data<std::int32_t>(offsets_E1);
      a_scales.data = data<float>(a_RK.scales);
      b_scales.data = data<float>(b_ENK.scales);
#pragma omp parallel for schedule(dynamic)
      for (std::int64_t e = 0; e < groups; ++e) {
        const std::int64_t begin = offsets[e], rows = offsets[e + 1] - begin;
        if (rows == 0) continue;
        Fp8Scales mine = a_scales, weights = b_scales;
        mine.data += begin;
        weights.data += e * b_scales.by_group;
        cpu::multiply(cpu::Fp8Product{rows, n, k, n, accumulate},
                      {data<std::uint8_t>(a_RK.values) + begin * k, k, mine},
                      {data<std::uint8_t>(b_ENK.values) + e * n * k, k, weights}, data<Out>(y_RN) + begin * n);
      }
    });
  });
}

void CpuBackend::grouped_gemm_fp8_weight(Tensor dw_EMN, const Fp8Matrix& a_MS, const Fp8Matrix& b_NS,
                                         const Tensor& offsets_E1, Stream& stream) {
  require_fp8_weight_product("grouped_gemm_fp8_weight", dw_EMN, a_MS, b_NS, offsets_E1);
  const std::int64_t groups = dw_EMN.dim(0), m = dw_EMN.dim(1), n = dw_EMN.dim(2), places = a_MS.values.dim(1);
  run_on(stream, [=] {
#pragma omp parallel for schedule(dynamic)
    for (std::int64_t e = 0; e < groups; ++e)
      for_groups(data<std::int32_t>(offsets_E1), e + 1, 0,
                 [&](std::int64_t group, std::int64_t begin, std::int64_t end, std::int64_t place) {
                   if (group != e || begin == end) return;
                   const auto operand = [&](const Fp8Matrix& matrix, std::int64_t rows) {
                     const Fp8Scales scales{
                         .data = data<float>(matrix.scales) + place / kFp8Tile * rows, .by_tile = rows, .by_row = 1};
                     return cpu::Fp8Rows{data<std::uint8_t>(matrix.values) + place, places, scales};
                   };
                   cpu::multiply(cpu::Fp8Product{m, n, fp8_tiles(end - begin) * kFp8Tile, n, true}, operand(a_MS, m),
                                 operand(b_NS, n), data<float>(dw_EMN) + e * m * n);
                 });
  });
}

}  // namespace athanor
