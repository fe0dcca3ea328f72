// What the checked functions of attention and grouped products ask beside shapes.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "src/backend/tensor.hpp"

namespace athanor::cuda {

/// Fewer than 2^30 rows and columns each, which these kernels count in 32 bits. @throws Error naming the operation.
void require_countable(const char* op, std::initializer_list<Tensor> operands);
/// Multiprocessors of a device.
int processors_of(int device);
/// Every tensor begins at a multiple of 16 bytes and every count is one of 8 elements of bf16: what copies of 16 bytes
/// need.
bool whole_vectors(std::initializer_list<const Tensor*> tensors, std::initializer_list<std::int64_t> counts);

}  // namespace athanor::cuda
