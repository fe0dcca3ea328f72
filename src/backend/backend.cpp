#include "src/backend/backend.hpp"

namespace athanor {

Tensor Backend::empty(const Shape& shape, DType dtype) {
  const auto bytes = static_cast<std::size_t>(shape.numel()) * size_bytes(dtype);
  return Tensor(arena().allocate(bytes), 0, shape, dtype, device());
}

}  // namespace athanor
