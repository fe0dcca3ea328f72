#include "src/backend/cpu/fp8_product.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "src/base/e4m3.hpp"

namespace athanor::cpu {
namespace {

constexpr std::int64_t kRows = 256;  // of A at work: their tile of 128 as f64 fills a quarter of the L2 cache
constexpr std::int64_t kTileM = 6, kTileN = 16;  // sums in registers
constexpr std::int64_t kDepth = kFp8Tile;

const std::array<double, 256> kValues = [] {
  std::array<double, 256> values{};
  for (std::size_t bits = 0; bits < values.size(); ++bits)
    values[bits] = static_cast<double>(e4m3::value_of(static_cast<std::uint8_t>(bits)));
  return values;
}();

struct Scratch {
  std::vector<double> a, b;
  std::vector<float> sums, b_scales;
};

/// dots[i][j] = sum over k of a[i][k] * b[k][j].
template <std::int64_t kM>
void dot_tile(const double* a, const double* b, std::int64_t depth, double (&dots)[kTileM][kTileN]) {
  using Lanes [[gnu::vector_size(64)]] = double;
  constexpr std::int64_t kLanes = 8;
  Lanes sums[kM][kTileN / kLanes] = {};
  for (std::int64_t k = 0; k < depth; ++k)
    for (std::int64_t i = 0; i < kM; ++i)
      for (std::int64_t j = 0; j < kTileN / kLanes; ++j) {
        Lanes factors;
        std::memcpy(&factors, b + k * kTileN + j * kLanes, sizeof(Lanes));
        sums[i][j] += a[i * kDepth + k] * factors;
      }
  for (std::int64_t i = 0; i < kM; ++i)
    for (std::int64_t j = 0; j < kTileN / kLanes; ++j) std::memcpy(&dots[i][j * kLanes], &sums[i][j], sizeof(Lanes));
}

void dots_of(std::int64_t rows, const double* a, const double* b, std::int64_t depth, double (&dots)[kTileM][kTileN]) {
  switch (rows) {
    case 1:
      return dot_tile<1>(a, b, depth, dots);
    case 2:
      return dot_tile<2>(a, b, depth, dots);
    case 3:
      return dot_tile<3>(a, b, depth, dots);
    case 4:
      return dot_tile<4>(a, b, depth, dots);
    case 5:
      return dot_tile<5>(a, b, depth, dots);
    default:
      return dot_tile<6>(a, b, depth, dots);
  }
}

float scale_of(const Fp8Scales& scales, std::int64_t row, std::int64_t tile) {
  return scales.data[tile * scales.by_tile + (row >> scales.shift) * scales.by_row];
}

template <class Out>
void write(Out* c, const float* sums, std::int64_t count, bool accumulate) {
  for (std::int64_t j = 0; j < count; ++j) {
    const float value = accumulate ? static_cast<float>(c[j]) + sums[j] : sums[j];
    if constexpr (std::is_same_v<Out, bf16>)
      c[j].bits = bf16::rounded_bits(value);
    else
      c[j] = value;
  }
}

template <class Out>
void multiply_into(const Fp8Product& p, const Fp8Rows& a, const Fp8Rows& b, Out* c) {
  thread_local Scratch scratch;
  const std::int64_t panels = (p.n + kTileN - 1) / kTileN, width = panels * kTileN;
  const std::int64_t most = std::min(kRows, p.m);
  const auto room = [](auto& buffer, std::int64_t count) {
    if (buffer.size() < static_cast<std::size_t>(count)) buffer.resize(static_cast<std::size_t>(count));
    return buffer.data();
  };
  double* wide_a = room(scratch.a, most * kDepth);
  double* panel_b = room(scratch.b, kDepth * kTileN);
  float* sums = room(scratch.sums, most * width);
  float* scales_b = room(scratch.b_scales, kTileN);
  for (std::int64_t first = 0; first < p.m; first += kRows) {
    const std::int64_t rows = std::min(kRows, p.m - first);
    std::fill_n(sums, rows * width, 0.0F);
    for (std::int64_t tile = 0; tile * kDepth < p.k; ++tile) {
      const std::int64_t depth = std::min(kDepth, p.k - tile * kDepth);
      for (std::int64_t i = 0; i < rows; ++i)
        for (std::int64_t k = 0; k < depth; ++k)
          wide_a[i * kDepth + k] = kValues[a.values[(first + i) * a.stride + tile * kDepth + k]];
      for (std::int64_t panel = 0; panel < panels; ++panel) {
        const std::int64_t column = panel * kTileN, columns = std::min(kTileN, p.n - column);
        for (std::int64_t j = 0; j < kTileN; ++j) {
          const std::uint8_t* row = b.values + (column + std::min(j, columns - 1)) * b.stride + tile * kDepth;
          for (std::int64_t k = 0; k < depth; ++k) panel_b[k * kTileN + j] = kValues[row[k]];
          scales_b[j] = scale_of(b.scales, column + std::min(j, columns - 1), tile);
        }
        for (std::int64_t i = 0; i < rows; i += kTileM) {
          const std::int64_t here = std::min(kTileM, rows - i);
          double dots[kTileM][kTileN];
          dots_of(here, wide_a + i * kDepth, panel_b, depth, dots);
          for (std::int64_t r = 0; r < here; ++r) {
            const float scale_a = scale_of(a.scales, first + i + r, tile);
            float* sum = sums + (i + r) * width + column;
            for (std::int64_t j = 0; j < kTileN; ++j)
              sum[j] = std::fma(static_cast<float>(dots[r][j]), scale_a * scales_b[j], sum[j]);
          }
        }
      }
    }
    for (std::int64_t i = 0; i < rows; ++i) write(c + (first + i) * p.ldc, sums + i * width, p.n, p.accumulate);
  }
}

}  // namespace

void multiply(const Fp8Product& p, const Fp8Rows& a, const Fp8Rows& b, float* c) { multiply_into(p, a, b, c); }
void multiply(const Fp8Product& p, const Fp8Rows& a, const Fp8Rows& b, bf16* c) { multiply_into(p, a, b, c); }

}  // namespace athanor::cpu
