// Sizes that a check of operands finds and kernels of every device work with. Plain: device code includes it.
#pragma once

#include <cstdint>

namespace athanor {

/// Of mla_assemble_kv: T tokens, H heads, widths n (no position), r (rotary) and v.
struct MlaWidths {
  std::int64_t tokens, heads, nope, rope, value;
};

/// Of unpermute_rows: T, K, R and D.
struct Unpermuted {
  std::int64_t tokens = 0, top_k = 0, rows = 0, width = 0;
};

/// Elements along one edge of a tile of Fp8Matrix.
inline constexpr std::int64_t kFp8Tile = 128;
inline constexpr std::int64_t fp8_tiles(std::int64_t count) { return (count + kFp8Tile - 1) / kFp8Tile; }
/// Scales of a row of blocks; cuBLAS asks for multiples of four.
inline constexpr std::int64_t fp8_block_stride(std::int64_t columns) { return (fp8_tiles(columns) + 3) / 4 * 4; }
/// A row as it travels: its elements, and a byte a tile, filled up to 16.
inline constexpr std::int64_t fp8_row_bytes(std::int64_t columns) {
  return columns + (fp8_tiles(columns) + 15) / 16 * 16;
}

/// Where the scales of a matrix lie: that of row i and tile t of the depth is data[t * by_tile + (i >> shift) *
/// by_row].
struct Fp8Scales {
  const float* data = nullptr;
  std::int64_t by_tile = 0, by_row = 0, by_group = 0;
  int shift = 0;
};

}  // namespace athanor
