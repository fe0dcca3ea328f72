#include "src/backend/backend.hpp"

#include "src/backend/operand_shapes.hpp"

namespace athanor {

Tensor Backend::empty(const Shape& shape, DType dtype) {
  const auto bytes = static_cast<std::size_t>(shape.numel()) * size_bytes(dtype);
  return Tensor(arena().allocate(bytes), 0, shape, dtype, device());
}

Fp8Matrix Backend::empty_fp8_rows(std::int64_t rows, std::int64_t columns) {
  return {empty({rows, columns}, DType::u8), empty({fp8_tiles(columns), rows}, DType::f32), Fp8Tiles::rows};
}

Fp8Matrix Backend::empty_fp8_blocks(const Shape& shape) {
  const std::int64_t rows = fp8_tiles(shape[shape.ndim() - 2]), columns = fp8_block_stride(shape.back());
  return {empty(shape, DType::u8),
          empty(shape.ndim() == 2 ? Shape{rows, columns} : Shape{shape[0], rows, columns}, DType::f32),
          Fp8Tiles::blocks};
}

Fp8Matrix Backend::empty_fp8_columns(std::int64_t tokens, std::int64_t columns, std::int64_t groups) {
  return empty_fp8_rows(columns, (tokens + groups * (kFp8Tile - 1)) / kFp8Tile * kFp8Tile);
}

}  // namespace athanor
