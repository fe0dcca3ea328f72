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

}  // namespace athanor
