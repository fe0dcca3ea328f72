// E4M3 read on the device, with the bits of src/base/e4m3.hpp: by integer arithmetic, so that any GPU can.
#pragma once

#include <cuda_runtime.h>

namespace athanor::cuda {

/// The number in the lowest byte.
__device__ inline float value_of_e4m3(unsigned byte) {
  const unsigned bits = byte & 0x7fU, sign = (byte & 0x80U) << 24;
  if (bits == 0x7fU) return __uint_as_float(0x7fc00000U);
  const float value =
      bits < 8 ? __fmul_rn(static_cast<float>(bits), 0x1p-9F) : __uint_as_float((bits << 20) + (120U << 23));
  return __uint_as_float(__float_as_uint(value) | sign);
}
/// Four numbers of a row, side by side in memory and in one tile: a word of bytes times its scale.
__device__ inline void decode_four(float (&to)[4], unsigned word, float scale) {
  for (int i = 0; i < 4; ++i) to[i] = __fmul_rn(value_of_e4m3(word >> (8 * i)), scale);
}

}  // namespace athanor::cuda
