// Tensors described to the copy engine of Hopper (tile_copy.cuh).
#pragma once

#include <cuda.h>

#include <array>
#include <cstdint>

namespace athanor::cuda {

/// A tensor of three dimensions, the first one's elements side by side, and the boxes that are copied out of it.
struct TiledTensor {
  const void* data = nullptr;            ///< a multiple of 16
  int element_bytes = 2;                 ///< 2: bf16, 1: bytes
  std::array<std::int64_t, 3> size{};    ///< elements; above 0
  std::array<std::int64_t, 2> stride{};  ///< elements between two of the second and of the third; whole 16 bytes
  std::array<int, 3> box{};              ///< at most 256 each; the first is 128 bytes
};

/// Boxes arrive swizzled by 128 bytes, with zeros for what lies outside. Works on the host alone.
/// @throws Error when the driver has no such function or refuses the shape, which it tells.
CUtensorMap tensor_map(const TiledTensor& tensor);

}  // namespace athanor::cuda
