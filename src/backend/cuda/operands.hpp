// What the checked functions of attention and grouped products ask of their operands.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "src/backend/cuda/cuda_stream.hpp"
#include "src/backend/tensor.hpp"

namespace athanor::cuda {

/// @throws Error "<op>: wanted <wanted>, found <a> and <b>" unless `holds`.
void require(bool holds, std::string_view op, std::string_view wanted, const Tensor& a, const Tensor& b);
/// The stream, once all defined operands are on its device and of fewer than 2^30 rows and columns, which kernels count
/// in 32 bits. @throws Error otherwise.
CudaStream& stream_for(std::string_view op, Stream& stream, std::initializer_list<const Tensor*> operands);
/// Multiprocessors of a device.
int processors_of(int device);
/// Every tensor begins at a multiple of 16 bytes and every count is one of 8 elements of bf16: what copies of 16 bytes
/// need.
bool whole_vectors(std::initializer_list<const Tensor*> tensors, std::initializer_list<std::int64_t> counts);

}  // namespace athanor::cuda
