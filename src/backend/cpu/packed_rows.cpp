// FP8 rows as they travel: packed with their scales, unpacked as rows of experts, and the backward of the sum over
// experts from packed gradients.
#include <array>
#include <bit>
#include <cstring>
#include <vector>

#include "src/backend/cpu/cpu_backend.hpp"
#include "src/backend/cpu/kernel.hpp"
#include "src/backend/cpu/lanes.hpp"
#include "src/backend/cpu/row_ids.hpp"
#include "src/base/e4m3.hpp"

namespace athanor {
namespace {

using cpu::data;
using cpu::parallel_rows;

constexpr std::int64_t kPieceRows = 16;
constexpr std::int32_t kNone = -1;

std::uint8_t exponent_of(float power_of_two) {
  return static_cast<std::uint8_t>(std::bit_cast<std::uint32_t>(power_of_two) >> 23 & 0xffU);
}
float scale_of(std::uint8_t exponent) { return std::bit_cast<float>(std::uint32_t{exponent} << 23); }

const std::array<float, 256> kValues = [] {
  std::array<float, 256> values{};
  for (std::size_t bits = 0; bits < values.size(); ++bits)
    values[bits] = e4m3::value_of(static_cast<std::uint8_t>(bits));
  return values;
}();

void decode(float* to, const std::uint8_t* packed, std::int64_t width) {
  const std::uint8_t* exponents = packed + width;
  for (std::int64_t tile = 0; tile < fp8_tiles(width); ++tile) {
    const float scale = scale_of(exponents[tile]);
    const std::int64_t end = std::min(width, (tile + 1) * kFp8Tile);
    for (std::int64_t c = tile * kFp8Tile; c < end; ++c) to[c] = kValues[packed[c]] * scale;
  }
}

}  // namespace

void CpuBackend::pack_fp8_rows(Tensor out_TP, const Fp8Matrix& x_TD, Stream& stream) {
  require_packed_fp8("pack_fp8_rows", out_TP, x_TD);
  run_on(stream, [=] {
    const std::int64_t rows = x_TD.values.dim(0), width = x_TD.values.dim(1), bytes = out_TP.dim(1);
    const auto* values = data<std::uint8_t>(x_TD.values);
    const auto* scales = data<float>(x_TD.scales);
    auto* out = data<std::uint8_t>(out_TP);
    parallel_rows(rows, kPieceRows, 2 * bytes, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        std::uint8_t* to = out + r * bytes;
        std::memcpy(to, values + r * width, static_cast<std::size_t>(width));
        std::memset(to + width, 0, static_cast<std::size_t>(bytes - width));
        for (std::int64_t tile = 0; tile < fp8_tiles(width); ++tile)
          to[width + tile] = exponent_of(scales[tile * rows + r]);
      }
    });
  });
}

void CpuBackend::permute_fp8_rows(const Fp8Matrix& y_RD, const Tensor& x_TP, const Tensor& pair_of_R,
                                  std::int64_t top_k, Stream& stream) {
  require_permuted_fp8("permute_fp8_rows", y_RD, x_TP, pair_of_R, top_k);
  run_on(stream, [=] {
    const std::int64_t rows = y_RD.values.dim(0), width = y_RD.values.dim(1), bytes = x_TP.dim(1);
    const auto* pairs = data<std::int32_t>(pair_of_R);
    cpu::require_ids("permute_fp8_rows", pairs, rows, x_TP.dim(0) * top_k);
    const auto* x = data<std::uint8_t>(x_TP);
    auto* values = data<std::uint8_t>(y_RD.values);
    auto* scales = data<float>(y_RD.scales);
    parallel_rows(rows, kPieceRows, 2 * bytes, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const std::uint8_t* from = x + pairs[r] / top_k * bytes;
        std::memcpy(values + r * width, from, static_cast<std::size_t>(width));
        for (std::int64_t tile = 0; tile < fp8_tiles(width); ++tile)
          scales[tile * rows + r] = scale_of(from[width + tile]);
      }
    });
  });
}

void CpuBackend::unpermute_fp8_rows_backward(const Fp8Matrix& dx_RD, Tensor dweights_TK, const Tensor& dy_TP,
                                             const Tensor& x_RD, const Tensor& row_of_TK, const Tensor& weights_TK,
                                             Stream& stream) {
  const char* op = "unpermute_fp8_rows_backward";
  const Unpermuted u = require_unpermuted_fp8(op, dx_RD, dweights_TK, dy_TP, x_RD, row_of_TK, weights_TK);
  const auto run = [&](auto type) {
    using T = decltype(type);
    run_on(stream, [=] {
      const auto* rows = data<std::int32_t>(row_of_TK);
      cpu::require_ids(op, rows, u.tokens * u.top_k, u.rows, kNone);
      const std::int64_t bytes = dy_TP.dim(1);
      const auto* packed = data<std::uint8_t>(dy_TP);
      const T* x = data<T>(x_RD);
      const auto* weights = data<float>(weights_TK);
      auto *dweights = data<float>(dweights_TK), *scales = data<float>(dx_RD.scales);
      auto* values = data<std::uint8_t>(dx_RD.values);
      const std::int64_t row_bytes = u.top_k * u.width * (1 + std::int64_t{sizeof(T)});
      parallel_rows(u.tokens, kPieceRows, row_bytes, [&](std::int64_t begin, std::int64_t end) {
        thread_local std::vector<float> decoded;
        decoded.resize(static_cast<std::size_t>(u.width));
        const float* dy = decoded.data();
        for (std::int64_t t = begin; t < end; ++t) {
          const std::uint8_t* from = packed + t * bytes;
          decode(decoded.data(), from, u.width);
          for (std::int64_t k = 0; k < u.top_k; ++k) {
            const std::int64_t pair = t * u.top_k + k, row = rows[pair];
            dweights[pair] = 0.0F;
            if (row == kNone) continue;
            const T* x_row = x + row * u.width;
            dweights[pair] = cpu::sum_lanes<float>(u.width, [=](auto at) { return at.load(dy) * at.load(x_row); });
            std::memcpy(values + row * u.width, from, static_cast<std::size_t>(u.width));
            for (std::int64_t tile = 0; tile < fp8_tiles(u.width); ++tile)
              scales[tile * u.rows + row] = scale_of(from[u.width + tile]) * weights[pair];
          }
        }
      });
    });
  };
  if (x_RD.dtype() == DType::bf16)
    run(bf16{});
  else
    run(float{});
}

}  // namespace athanor
